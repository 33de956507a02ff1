"""Files with certificates and keys (PEM), and what is said where one cannot be used."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import UsageError


@contextmanager
def usable(named: str, needed: str) -> Iterator[None]:
    """The use of files. Raises UsageError with what named them, why they are of no use, and what is needed."""
    try:
        yield
    except OSError as trouble:  # also what OpenSSL says
        why = getattr(trouble, "reason", None) or trouble.strerror or type(trouble).__name__
        raise UsageError(f"{named}: {why}; {needed}") from trouble
