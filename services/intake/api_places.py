"""Where a number is found, and what stands in paths and preferences. Pure."""

import re
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request

from services.intake.api_problems import Problem
from services.intake.submission import Submission

LONGEST_WAIT: Final = 60
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?=$|[,;])", re.ASCII | re.IGNORECASE)


def place_of(submission: Submission) -> str:
    """Where to ask for the outcome of a submission."""
    number = f"/v1/claims/{quote(submission.institution_id, safe='')}/{quote(submission.claim_no, safe='')}"
    return f"{number}?kind=reversal" if submission.kind == "reversal" else number


def segments(request: Request, prefix: str, count: int) -> list[str]:
    """The path's segments behind a prefix. An identity may hold a slash, written as %2F. Raises Problem."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0][len(prefix) :]
    try:
        found = [unquote_to_bytes(part).decode() for part in raw.split(b"/")]
    except UnicodeDecodeError as fault:
        raise Problem("no_such_place") from fault
    if len(found) != count or not all(found) or any("\x00" in part for part in found):
        raise Problem("no_such_place")
    return found


def preferred_wait(prefer: list[str]) -> int | None:
    """The seconds of ``Prefer: wait=N`` (RFC 7240), at most a minute; None where nothing sensible is preferred."""
    match = _WAIT.search(",".join(prefer))
    return min(int(match[1]), LONGEST_WAIT) if match else None
