"""The deployment of one run: books, broker, cache and the workers of every step; from the first record to quiet."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.account.steps import AccountStep, CreditStep
from services.adjudication.steps import AdjudicationStep
from services.crossregion.steps import CrossregionStep
from services.eligibility.steps import EligibilityStep, RegisterStep
from services.intake.steps import IntakeStep
from shared.events import SUBMITTED
from shared.identity import part_of, partition_of
from shared.policy import Policies
from shared.runtime import topics
from shared.runtime.lease import Place
from shared.runtime.quarantine import REDRIVE_HEADER, unpack_headers
from shared.runtime.step import Step
from simulation.books import Books
from simulation.broker import Broker, Group
from simulation.chance import Chance
from simulation.curse import cursed
from simulation.feed import Feed
from simulation.hot import Shelf
from simulation.ledgers import AccountStore, CrossregionStore
from simulation.statements import LEASE, QUARANTINE, constrain
from simulation.stores import AdjudicationStore, IntakeStore, RegisterStore
from simulation.worker import Stage, Worker

NOW: Final = datetime(2023, 6, 20, tzinfo=UTC)
QUIET_SECONDS: Final = 600.0  # without a fault, everything is through long before
_POLICIES: Final = Path(__file__).parents[2] / "policies"
_MEMBER_OF: Final = {"institution": "institution_id", "family_link": "holder_id"}


@cache
def policies() -> Policies:
    """The packs, read once."""
    return Policies.load(_POLICIES)


@cache
def _declared(partitions: int) -> dict[str, int]:
    return {name: topic.partitions for name, topic in topics.declared(partitions).items()}


class NotQuiet(AssertionError):
    """Something is still not through, long after the last fault."""


@dataclass(frozen=True)
class Size:
    """How large a deployment is."""

    partitions: int = 2
    workers: int = 1  # of each step
    batch_max: int = 500


class World:
    """What the workers live in."""

    def __init__(self, chance: Chance, feed: Feed, size: Size) -> None:
        self.chance = chance
        self.feed = feed
        self.batch_max = size.batch_max
        self.curses = {} if chance.calm else dict(feed.curses)
        self.over = False
        self.applied = 0
        self.stopped: dict[Place, str] = {}
        self.exchanged: Place | None = None  # whose tail was lost
        self.books = Books(chance)
        constrain(self.books)
        self.broker = Broker(chance, _declared(size.partitions))
        self.shelf = Shelf(self.books)
        self.adjudication = AdjudicationStore()
        self.stages = self._stages()
        self._started = 0
        self._tasks = [asyncio.create_task(stage.group.run()) for stage in self.stages]
        chance.now = asyncio.get_running_loop().time
        for stage in self.stages:
            for _ in range(size.workers):
                self.start(stage)

    def _stages(self) -> list[Stage]:
        register, accounts, packs = RegisterStore(), AccountStore(), policies()
        made: dict[str, Step[Any, Any, Any]] = {
            "register": RegisterStep(register),
            "credits": CreditStep(accounts),
            "submissions": IntakeStep(IntakeStore(), self.now),
            "coverage": EligibilityStep(register, packs),
            "decisions": AdjudicationStep(self.adjudication, packs),
            "settlement": AccountStep(accounts, packs, self.now),
            "obligations": CrossregionStep(CrossregionStore()),
        }
        return [self._stage(name, step) for name, step in made.items()]

    def _stage(self, name: str, step: Step[Any, Any, Any]) -> Stage:
        group = Group(self.broker, step.topics, lambda: self.chance.tell("shares out", f"group {name}"))
        return Stage(name, lambda _: cursed(step, self.curses), step.topics, group, projects=name == "decisions")

    def now(self) -> datetime:
        """The instant of an outcome."""
        return NOW + timedelta(seconds=self.chance.now())

    # -- workers ---------------------------------------------------------------------------------------------------

    def start(self, stage: Stage) -> None:
        """Starts a worker of a step."""
        self._started += 1
        stage.workers.append(Worker(self, stage, self._started))

    def restart(self, stage: Stage, seconds: float) -> None:
        """Starts one in so many seconds, as a supervisor does."""
        asyncio.get_running_loop().call_later(seconds, self.start, stage)

    def beside(self, doing: "asyncio._CoroutineLike[None]") -> None:
        """Does something while the run goes on."""
        self._tasks.append(asyncio.create_task(doing))

    def check(self) -> None:
        """Raises what a task of ours failed with: nobody else would notice."""
        sets = [self._tasks, *(stage.group.tasks for stage in self.stages)]
        for tasks in [*sets, *(worker.tasks for stage in self.stages for worker in stage.workers)]:
            for task in [task for task in tasks if task.done()]:
                tasks.remove(task)
                if not task.cancelled() and (failure := task.exception()) is not None:
                    raise failure

    # -- records ---------------------------------------------------------------------------------------------------

    def enrol(self) -> None:
        """Sends the register."""
        for line in self.feed.register:
            topic = f"register.{line['type']}"
            key = str(line[_MEMBER_OF.get(str(line["type"]), "member_id")])
            place = (topic, partition_of(part_of(key), self.broker.partitions[topic]))
            self.broker.append(place, key.encode(), json.dumps(line).encode())

    def submit(self, first: int, last: int) -> None:
        """Sends some of the day's lines."""
        for sent in self.feed.submitted[first:last]:
            self.broker.append((SUBMITTED, sent.partition), b"sender", sent.value)

    def redrive(self) -> int:
        """What an operator does with dead letters, once the program is mended. Returns how many were held."""
        held = [row for row in self.books.rows(QUARANTINE).values() if row["state"] == "held" and row["reason"] != "unreadable"]
        for row in sorted(held, key=lambda one: (one["service"], one["topic"], one["partition"], one["rank"] or one["id"])):
            headers = [header for header in unpack_headers(row["headers"]) if header[0] != REDRIVE_HEADER]
            place = (row["topic"], row["partition"])
            self.broker.append(place, row["key"], row["value"], (*headers, (REDRIVE_HEADER, str(row["id"]).encode())))
        return len(held)

    def lose_a_tail(self) -> None:
        """A broker comes back without the end of one log; everybody who reads it begins anew."""
        applied = {key: row["next_offset"] for key, row in self.books.rows(LEASE).items() if row["next_offset"] > 1}
        stage = self.chance.one_of(self.stages)
        places = sorted(key[1:] for key in applied if key[1] in stage.topics)
        if not places:
            return
        place = self.exchanged = self.chance.one_of(places)
        last = next(offset for key, offset in applied.items() if key[1:] == place) - 1
        self.chance.tell(f"loses its tail from {last} on", "{}/{}".format(*place))
        for worker in list(stage.workers):
            worker.kill()
        self.broker.exchange(place, last)

    async def wait_for_the_stop(self) -> list[str]:
        """The one right answer to a log that is another: its partition stops. Returns what is wrong with it."""
        deadline = self.chance.now() + QUIET_SECONDS
        while self.exchanged not in self.stopped:
            if self.chance.now() > deadline:
                return [f"the log of {self.exchanged} was exchanged, and nobody stopped"]
            await asyncio.sleep(1.0)
        return []

    # -- quiet -----------------------------------------------------------------------------------------------------

    async def quiet(self, places: Sequence[str] | None = None, patience: float | None = None) -> bool:
        """Waits until everything is applied, announced and shown. ``places``: only these topics.

        Raises NotQuiet when it takes too long; with ``patience`` (seconds) it gives up, and says so.
        """
        deadline = self.chance.now() + (patience or QUIET_SECONDS)
        while behind := self._behind(places):
            self.check()
            if self.chance.now() > deadline:
                if patience is not None:
                    return False
                raise NotQuiet(f"still behind: {behind}; stopped: {self.stopped}")
            await asyncio.sleep(1.0)
        return True

    def _behind(self, places: Sequence[str] | None) -> str:
        if self.broker.under_way:
            return "messages are still under way"
        leases = self.books.rows(LEASE)
        for stage in self.stages:
            service = self._service(stage)
            for topic in stage.topics:
                for number in range(self.broker.partitions[topic]) if places is None or topic in places else ():
                    row = leases.get((service, topic, number))
                    end = len(self.broker.log((topic, number)))
                    if end and (row is None or row["next_offset"] < end):
                        return f"{service} applied {row and row['next_offset']} of {end} of {topic}/{number}"
                    if row and row["relayed_seq"] < row["out_seq"]:
                        return f"{service} announced {row['relayed_seq']} of {row['out_seq']} of {topic}/{number}"
                    if row and stage.projects and row["projected_seq"] < row["out_seq"]:
                        return f"{service} showed {row['projected_seq']} of {row['out_seq']} of {topic}/{number}"
        return ""

    def _service(self, stage: Stage) -> str:
        return {"register": "eligibility", "coverage": "eligibility", "submissions": "intake",
                "decisions": "adjudication", "obligations": "crossregion"}.get(stage.name, "account")  # fmt: skip
