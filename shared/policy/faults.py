"""What is wrong with a pack: which file, where in it, what, and how to mend it."""

from collections.abc import Sequence
from typing import NamedTuple

from shared.errors import UsageError


class Fault(NamedTuple):
    """One fault. ``path`` is like ``versions[0].benefits.ordinary.pool[1].table``."""

    file: str
    path: str
    fault: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path or '(whole file)'}: {self.fault}; {self.remedy}"


class PackError(UsageError):
    """Packs or parameters that cannot be used, with every fault found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


def path_of(location: Sequence[str | int]) -> str:
    """A place in a document as text: ``("versions", 0, "to")`` -> ``versions[0].to``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
