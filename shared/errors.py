"""What went wrong, told by what the machine must do next: quarantine, retry, stop. Nothing else is raised by the loop."""

from pathlib import Path
from typing import Self


def named(failure: BaseException) -> str:
    """The kind of a failure and the line that raised it, without its words: they may carry an identity."""
    trace = failure.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    constraint = getattr(failure, "constraint_name", None)
    return f"{type(failure).__name__}{where}" + (f" ({constraint})" if constraint else "")


def worded(failure: BaseException) -> str:
    """The kind of a failure, with the first line of its words where it has any: what Postgres adds below shows a row or a key."""
    return ": ".join(filter(None, (type(failure).__name__, str(failure).partition("\n")[0])))


class Unreadable(Exception):
    """A record that cannot be read: quarantine it and announce it on ``claims.dead``. The sender's fault, not ours."""


class Retry(Exception):
    """A server is in trouble (connection, deadlock, serialization, broker): roll back, wait, take up again."""


class Fenced(Exception):
    """Another worker holds the lease now: roll back, forget, and touch nothing."""


class Stop(Exception):
    """The log, the lease or the deployment is not what it was: a person must look. Never guessed around.

    ``place`` is the (topic, partition) it is about, None when it is about the whole deployment.
    """

    def __init__(self, why: str, place: tuple[str, int] | None = None) -> None:
        super().__init__(why)
        self.place = place


class ServerMissing(Exception):
    """A needed server is not there. The command exits with 3.

    ``server`` is kafka, postgres or redis; ``remedy`` tells how to start it or where to give its address.
    """

    def __init__(self, server: str, remedy: str) -> None:
        super().__init__(f"{server} is not there: {remedy}")
        self.server = server
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        return type(self), (self.server, self.remedy)  # or it could not leave a process that an audit started


class UsageError(Exception):
    """What the user gave cannot be used: says what, where and how to mend it. The command exits with 2."""
