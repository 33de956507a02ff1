"""Days and instants. A claim's business day is its date in Asia/Shanghai (contract.md, section 1)."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

# China has had no daylight saving since 1991 and no text here reaches back to it, so the zone is a constant
# and no result depends on the machine's time zone data.
SHANGHAI = timezone(timedelta(hours=8))

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-5][0-9])",
    re.ASCII,
)


def read_date(text: str) -> date:
    """Reads an ISO 8601 calendar date (2023-05-01). Raises ValueError."""
    if _DATE.fullmatch(text) is None:
        raise ValueError(f"not a date like 2023-05-01: {text[:40]!r}")
    return date.fromisoformat(text)


def read_instant(text: str) -> datetime:
    """Reads an RFC 3339 instant with offset, as the same instant in Asia/Shanghai. Raises ValueError."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise ValueError(f"not an instant like 2023-05-01T09:30:00+08:00: {text[:40]!r}")
    fraction = match.group(1)
    if fraction is not None:  # Python keeps six digits; more would raise
        text = text.replace(fraction, fraction[:7].ljust(7, "0"), 1)
    try:
        return datetime.fromisoformat(text.upper()).astimezone(SHANGHAI)
    except OverflowError as overflow:
        raise ValueError(f"outside the years 1 to 9999 in Asia/Shanghai: {text[:40]!r}") from overflow


def read_since(text: str) -> datetime:
    """Reads a day, or an instant; without an offset it is of Asia/Shanghai.

    Raises ValueError, also where it lies outside the years 1 to 9999 in UTC: nothing that is stored does.
    """
    instant = datetime.fromisoformat(text)
    try:
        return (instant if instant.tzinfo else instant.replace(tzinfo=SHANGHAI)).astimezone(UTC)
    except OverflowError as overflow:
        raise ValueError(f"outside the years 1 to 9999 in UTC: {text!r}") from overflow


def stamp(instant: datetime) -> str:
    """Writes an instant as RFC 3339 in UTC with milliseconds."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
