"""Where a number is found, and what stands in paths and preferences. Pure."""

import re
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from services.intake.api_problems import Problem, bad_parameter
from services.intake.faults import clean
from services.intake.submission import Submission

Endpoint = Callable[[Request], Awaitable[Response]]

DEFAULT_WAIT: Final = 5
LONGEST_WAIT: Final = 60
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]+)\"?\s*(?=$|[,;])", re.ASCII | re.IGNORECASE)


def place_of(submission: Submission) -> str:
    """Where to ask for the outcome of a submission."""
    number = f"/v1/claims/{quote(submission.institution_id, safe='')}/{quote(submission.claim_no, safe='')}"
    return f"{number}?kind=reversal" if submission.kind == "reversal" else number


class Place(Route):
    """A place whose path holds identities, and is read as it was sent: an identity may hold a slash, written as %2F."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether it is this place, and that way; the identities are the path's parameters."""
        if scope["type"] != "http" or (named := identities(scope["raw_path"].partition(b"?")[0], self.path)) is None:
            return Match.NONE, {}
        match = Match.FULL if scope["method"] in (self.methods or ()) else Match.PARTIAL
        return match, {"endpoint": self.endpoint, "path_params": named}


def identities(raw_path: bytes, shape: str) -> dict[str, str] | None:
    """What stands in a path of this shape, like ``/v1/claims/{institution_id}/{claim_no}``; None for a path of another."""
    try:
        found = [unquote_to_bytes(part).decode() for part in raw_path.split(b"/")]
    except UnicodeDecodeError:
        return None
    wanted = shape.split("/")
    if len(found) != len(wanted):
        return None
    pairs = list(zip(wanted, found, strict=True))
    if any(text != part for part, text in pairs if not part.startswith("{")):
        return None
    named = {part.strip("{}"): text for part, text in pairs if part.startswith("{")}
    return named if all(text and "\x00" not in text for text in named.values()) else None


def asked(endpoint: Endpoint, *parameters: str) -> Endpoint:
    """A place that is asked with these parameters, each once at most: what it passed over would be another question answered."""

    @wraps(endpoint)
    async def answer(request: Request) -> Response:
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in parameters:
                shown, known = clean(name), ", ".join(parameters)
                detail = (
                    f"此处没有参数 {shown}，可用参数：{known or '无'}",
                    f"{shown} is no parameter here; there is {known or 'none'}",
                )
                raise Problem("bad_parameter", detail, field=shown)
            if given.count(name) > 1:
                raise bad_parameter(name, "只给一次", "given once")
        return await endpoint(request)

    return answer


def preferred_wait(prefer: list[str]) -> int | None:
    """The seconds of ``Prefer: wait=N`` (RFC 7240) as they apply, at most a minute; None where nothing sensible is preferred."""
    match = _WAIT.search(",".join(prefer))
    return int(min(float(match[1]), LONGEST_WAIT)) if match else None  # a float has no end of digits
