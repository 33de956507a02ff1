"""What stands in for Kafka: logs that only grow, groups that share them out, consumers that fetch, producers that may fail."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from shared.errors import Retry
from shared.identity import partition_of
from shared.runtime.holdings import Holdings
from shared.runtime.lease import Place
from shared.runtime.relay import Outgoing
from shared.runtime.step import Record
from simulation.chance import Chance
from simulation.session import Client

SESSION_SECONDS: Final = 6.0  # without a sign of life a member is out of its group
_RUN: Final = 6  # records that come once more, at most


class Broker:
    """The logs, by topic and partition."""

    def __init__(self, chance: Chance, partitions: Mapping[str, int]) -> None:
        self.chance = chance
        self.partitions = partitions
        self.logs: dict[Place, list[Record]] = {}
        self.consumers: list[Consumer] = []
        self.under_way = 0  # messages that will arrive although nobody waits for them

    def log(self, place: Place) -> list[Record]:
        """The records of a partition."""
        return self.logs.setdefault(place, [])

    def append(self, place: Place, key: bytes | None, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Adds a record at the end."""
        log = self.log(place)
        log.append(Record(*place, len(log), int(self.chance.now() * 1000), key, value, headers))
        for consumer in self.consumers:
            if place in consumer.positions:
                consumer.news.set()

    def exchange(self, place: Place, offset: int) -> None:
        """The log loses its tail from an offset on; as many others, and one more, stand there afterwards."""
        log = self.log(place)
        lost = len(log) - offset
        del log[offset:]
        for number in range(lost + 1):
            self.append(place, b"another", b'{"another": %d}' % number)

    def deliver(self, groups: Mapping[Place, Sequence[Outgoing]]) -> None:
        """Takes what a producer sent; now and then something of the same log comes once more after it."""
        for place, messages in groups.items():
            for message, headers in messages:
                self.append(place, message.key or None, message.value, headers)
            if messages and self.chance.hits("doubled", "{}/{}".format(*place)):
                log = self.log(place)
                start = self.chance.number(0, len(log) - 1)
                for record in log[start : start + _RUN]:
                    self.append(place, record.key, record.value, record.headers)


class Producer:
    """``shared.runtime.relay.Sender`` over the logs."""

    def __init__(self, broker: Broker, client: Client) -> None:
        self._broker = broker
        self._client = client

    async def send(self, outgoing: Sequence[Outgoing]) -> None:
        """Sends in order; whoever gets an answer knows that all arrived. Raises Retry: then nobody knows."""
        if not outgoing:
            return
        broker, chance, whom = self._broker, self._broker.chance, self._client.name
        await self._client.call()
        groups: dict[Place, list[Outgoing]] = {}
        for one in outgoing:
            topic = one.message.topic
            groups.setdefault((topic, partition_of(one.message.part, broker.partitions[topic])), []).append(one)
        if chance.hits("send failed", whom):
            raise Retry("the broker is away")
        if chance.hits("crash in send", whom):
            broker.deliver(self._some(groups))
            await self._client.crash()
        if chance.hits("send cut", whom):
            broker.deliver(self._some(groups))
            raise Retry("the connection broke")
        if chance.hits("send late", whom):
            broker.under_way += 1
            asyncio.get_running_loop().call_later(chance.between(0.05, 6.0), self._arrive, groups)
            raise Retry("no answer in time")
        broker.deliver(groups)
        if chance.hits("send unanswered", whom):
            raise Retry("no answer")
        await self._client.call()

    def _arrive(self, groups: Mapping[Place, Sequence[Outgoing]]) -> None:
        self._broker.under_way -= 1
        self._broker.deliver(groups)

    def _some(self, groups: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, Sequence[Outgoing]]:
        return {place: messages[: self._broker.chance.number(0, len(messages))] for place, messages in groups.items()}


class Consumer:
    """``shared.runtime.holdings.Log``, and what is fetched."""

    def __init__(self, broker: Broker, client: Client, holdings: Holdings) -> None:
        self._broker = broker
        self.client = client
        self.holdings = holdings
        self.view: set[Place] = set()  # what it thinks is its own
        self.positions: dict[Place, int] = {}
        self.news = asyncio.Event()
        self.kicked = False
        self.turn = asyncio.Lock()  # a listener is called for one thing after the other

    def assigned(self) -> set[Place]:
        return set(self.view)

    def hold(self, place: Place) -> None:
        self.positions.pop(place, None)

    def go(self, place: Place, offset: int) -> None:
        if place in self.view:
            self.positions[place] = offset
            self.news.set()

    async def bounds(self, places: Iterable[Place]) -> Mapping[Place, tuple[int, int]]:
        await self.client.call()
        if self._broker.chance.hits("bounds failed", self.client.name):
            raise Retry("Kafka does not say where its logs end")
        return {place: (0, len(self._broker.log(place))) for place in places}

    async def advise(self, offsets: Mapping[Place, int]) -> None: ...

    async def waiting(self, offsets: Mapping[Place, int], *, resting: bool) -> int:  # noqa: ARG002 - the protocol names it
        return sum(len(self._broker.log(place)) - offset for place, offset in offsets.items())

    async def fetch(self, most: int) -> list[Record]:
        """What comes next, of every partition that is not held; waits until there is something."""
        while True:
            self.news.clear()
            await self.client.call()
            room, found = most, []
            for place in sorted(self.positions):
                at = self.positions[place]
                records = self._broker.log(place)[at : at + room]
                found += records
                self.positions[place] = at + len(records)
                room -= len(records)
            if found:
                return found
            await self.news.wait()


class Group:
    """Shares out partitions among its members. Who does not answer is left out, and may not know it for a while."""

    def __init__(self, broker: Broker, topics: Sequence[str], told: Callable[[], None]) -> None:
        self._broker = broker
        self._places = [(topic, number) for topic in topics for number in range(broker.partitions[topic])]
        self._told = told
        self.members: list[Consumer] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._wanted = asyncio.Event()

    def join(self, consumer: Consumer) -> None:
        """A member comes, or comes back."""
        consumer.kicked = False
        if consumer not in self._broker.consumers:
            self._broker.consumers.append(consumer)
        self.members.append(consumer)
        self.shake()

    def leave(self, consumer: Consumer) -> None:
        """A member goes, or is known to be gone."""
        if consumer in self.members:
            self.members.remove(consumer)
            self.shake()

    def expel(self, consumer: Consumer) -> None:
        """A member gives no sign of life: its partitions go to others, and it learns of it late."""
        if consumer in self.members:
            self._broker.chance.tell("is out of its group", consumer.client.name)
            consumer.kicked = True
            self.members.remove(consumer)
            self._call(self._revoke(consumer))
            self.shake()

    def shake(self) -> None:
        """Shares out anew, soon."""
        self._wanted.set()

    async def run(self) -> None:
        """Shares out whenever it is wanted."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self._share_out()

    async def _share_out(self) -> None:
        self._told()
        members = list(self.members)
        answering = {self._call(self._revoke(member)): member for member in members}
        if answering:
            _, silent = await asyncio.wait(answering, timeout=SESSION_SECONDS)
            for task, member in answering.items():
                if task not in silent:
                    continue
                member.kicked = True
                self._broker.chance.tell("is out of its group", member.client.name)
                if member in self.members:
                    self.members.remove(member)
        left = [member for member in members if member in self.members]
        if not left:
            return
        places = list(self._places)
        self._broker.chance.shuffle(places)
        shares: dict[int, set[Place]] = {index: set() for index in range(len(left))}
        for number, place in enumerate(places):
            shares[number % len(left)].add(place)
        for index, member in enumerate(left):
            self._call(self._assign(member, shares[index]))

    def _call(self, calling: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        task = asyncio.create_task(calling)
        self.tasks.append(task)
        return task

    async def _revoke(self, member: Consumer) -> None:
        async with member.turn:
            await member.client.call()
            if member.kicked:  # it slept through it, and goes on until a heartbeat tells it
                await asyncio.sleep(self._broker.chance.between(0.0, 3.0))
            try:
                await member.holdings.revoked(list(member.view))
            except Retry as trouble:
                self._broker.chance.tell(f"marks not stored: {trouble}", member.client.name)
            member.positions.clear()  # its view stays as it was until it is given another, as the client's does
        if member.kicked:
            self.join(member)

    async def _assign(self, member: Consumer, places: set[Place]) -> None:
        async with member.turn:
            await member.client.call()
            member.view = places
            member.positions.clear()
            await member.holdings.assigned(sorted(places))
