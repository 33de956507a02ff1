"""The counter's desk: puts submissions on ``claims.submitted`` like any other feeder, and waits for their outcomes.

There is one way a claim settles, and this is not another: the desk decides nothing.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from services.intake.answers import Answers, Found
from services.intake.number import Key
from services.intake.replies import Replies
from services.intake.steps import possible_ids
from services.intake.submission import Submission
from services.intake.together import Together
from shared.errors import Retry
from shared.events import SUBMITTED
from shared.identity import event_id, part_of, partition_of
from shared.runtime.database import TROUBLE
from shared.runtime.relay import Outgoing, Sender
from shared.runtime.step import Message

Digests = Together[Key, str]  # the content that numbers are bound to

_LOOK_SECONDS: Final = 5.0  # after so long without hearing anything, it is looked for in Postgres
_HANDING_IN_SECONDS: Final = 1.0  # so long Kafka may take at least, also for who would not wait for an outcome
_LONGEST_KEY: Final = 256
_UNREAD_SECONDS: Final = 2.0  # so long a question waits for intake to read what was sent before it
_UNREAD_PAUSE: Final = 0.05
_NO_RECORD_SECONDS: Final = 0.25  # what intake has not read after so long may be no record, but the mark of a transaction


class Log(Protocol):
    """What is asked of the log. Both raise Retry."""

    async def end(self, topic: str, partition: int) -> int:
        """Where a partition ends now."""
        ...

    async def end_of_records(self, topic: str, partition: int, end: int) -> int:
        """The offset behind the last record before ``end``."""
        ...


class Handed(NamedTuple):
    """A submission with the very bytes it came in."""

    submission: Submission
    value: bytes


class Desk:
    """Takes submissions and answers them. ``seconds`` is always the longest time to wait."""

    def __init__(self, sender: Sender, replies: Replies, answers: Answers, log: Log, *, partitions: int) -> None:
        self._sender = sender
        self._replies = replies
        self._answers = answers
        self._digests = Together(answers.digests)
        self._log = log
        self._partitions = partitions
        self.over = replies.over  # set when the process ends

    async def ask(self, institution_id: str, claim_no: str, kind: str) -> Found | None:
        """What stands under a number. None: nobody had sent it when this was asked.

        What waits unread in the institution's partition may be the very record that is asked for, handed in at whichever
        instance. So "nobody" is only said when intake has read as far as the log went. Raises Retry, or one of TROUBLE.
        """
        found = await self._answers.find(institution_id, claim_no, kind)
        if found is not None:
            return found
        partition = partition_of(part_of(institution_id), self._partitions)
        if await self._is_read(partition, await self._log.end(SUBMITTED, partition)):
            return await self._answers.find(institution_id, claim_no, kind)
        return Found(None)

    async def _is_read(self, partition: int, end: int) -> bool:
        """Whether intake has read every record before this end, after some patience. Its lease stands behind the last it read."""
        began = time.monotonic()
        looked = False
        while await self._answers.read_up_to(partition) < end:
            waited = time.monotonic() - began
            if waited > _UNREAD_SECONDS:
                return False
            if waited > _NO_RECORD_SECONDS and not looked:
                end, looked = await self._log.end_of_records(SUBMITTED, partition, end), True
            else:
                await asyncio.sleep(_UNREAD_PAUSE)
        return True

    async def settle(self, handed: Handed, seconds: float) -> bytes | None:
        """Hands one submission in and waits: its outcome, or None where that has not come in time.

        Raises Retry, also where Kafka has not taken it in that time: it may still, and whoever sends it again sends a repeat.
        """
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(max(seconds, _HANDING_IN_SECONDS)):
                waiting = await self.hand_in([handed])
        except TimeoutError as slow:
            raise Retry("Kafka has not taken it within the wait") from slow
        return (await waiting.outcomes(max(0.0, deadline - time.monotonic())))[0]

    async def hand_in(self, handed: Sequence[Handed]) -> "Waiting":
        """Hands submissions in, in this order; what is returned must be waited for.

        Raises Retry when Kafka does not take them: then nobody knows, and sending the same again settles it.
        """
        waiting = Waiting([one.submission for one in handed], self._replies, self._answers, self._digests)
        try:
            await self._sender.send([_outgoing(one) for one in handed])
        except BaseException:
            waiting.leave()
            raise
        return waiting


class _Wait:
    """One submission that waits."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.key: Key = (submission.institution_id, submission.claim_no)
        self.ids = possible_ids(submission)
        # An outcome under the number's own id is only for the content that the number is bound to.
        self.doubtful_id = "" if submission.faults or submission.kind == "reversal" else event_id(submission.kind, *self.key)
        self.outcome: bytes | None = None


class Waiting:
    """Submissions that were handed in together, and what is heard of them."""

    def __init__(self, submissions: Iterable[Submission], replies: Replies, answers: Answers, digests: Digests) -> None:
        self._replies = replies
        self._answers = answers
        self._digests = digests
        self._waits = [_Wait(submission) for submission in submissions]
        self._by_id: dict[str, list[_Wait]] = {}
        for wait in self._waits:
            for identity in wait.ids:
                self._by_id.setdefault(identity, []).append(wait)
        self._heard = replies.expect(self._by_id)

    def leave(self) -> None:
        """Stops waiting."""
        self._replies.forget(self._by_id, self._heard)

    async def outcomes(self, seconds: float) -> list[bytes | None]:
        """One outcome each, in the order of handing in; None where it has not come in time, or the process ends."""
        deadline = time.monotonic() + seconds
        try:
            while any(wait.outcome is None for wait in self._waits):
                left = deadline - time.monotonic()
                if left > 0 and await self._hear(min(left, _LOOK_SECONDS)):
                    continue
                if self._replies.over.is_set():  # no time for looking: another instance is asked
                    break
                await self._look()
                if left <= 0:
                    break
        finally:
            self.leave()
        return [wait.outcome for wait in self._waits]

    async def _hear(self, seconds: float) -> bool:
        """Takes what is heard. False if nothing was in this time, or the process ends."""
        try:
            async with asyncio.timeout(seconds):
                first = await self._heard.get()
        except TimeoutError:
            return False
        heard = {} if first is None else dict([first])
        while not self._heard.empty():
            further = self._heard.get_nowait()
            if further is not None:
                heard[further[0]] = further[1]
        await self._take(heard)
        return not self._replies.over.is_set()

    async def _take(self, heard: dict[str, bytes]) -> None:
        doubtful = []
        for identity, value in heard.items():
            for wait in self._by_id[identity]:
                if identity == wait.doubtful_id:
                    doubtful.append((wait, value))
                else:
                    wait.outcome = value
        if doubtful:
            bound = await self._bound([wait for wait, _ in doubtful])
            for wait, value in doubtful:
                if wait.outcome is None and bound.get(wait.key) == wait.submission.digest:
                    wait.outcome = value

    async def _bound(self, waits: Sequence[_Wait]) -> dict[Key, str]:
        try:
            return await self._digests({wait.key for wait in waits})
        except TROUBLE:
            return {}  # the answer stays in doubt, and is looked for again

    async def _look(self) -> None:
        """Looks in Postgres for what was not heard."""
        waits = [wait for wait in self._waits if wait.outcome is None]
        bound = await self._bound(waits)
        try:
            for wait in waits:
                submission = wait.submission
                conflict = bool(wait.doubtful_id) and bound.get(wait.key) != submission.digest
                if not submission.faults and not conflict:
                    found = await self._answers.find(*wait.key, submission.kind)
                    wait.outcome = found.value if found else None
                else:
                    wait.outcome = await self._answers.rejection(wait.ids[-1])
        except TROUBLE:
            return


def _outgoing(handed: Handed) -> Outgoing:
    institution_id = handed.submission.institution_id
    return Outgoing(Message(SUBMITTED, part_of(institution_id), institution_id.encode()[:_LONGEST_KEY], handed.value))
