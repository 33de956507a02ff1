"""The counter's door: whose key it is, how much he may ask, how large and slow a request may be, and what is logged of it.

Plain ASGI, so that streams pass through untouched.
"""

import asyncio
import logging
import math
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.intake.api_problems import MEDIA_TYPE, Problem
from services.intake.keys import Keys, Owner
from services.intake.limits import Buckets
from shared.errors import Retry
from shared.identity import mask
from shared.runtime.database import TROUBLE

log = logging.getLogger("gongji.counter")

OPEN_PLACES: Final = frozenset({"/", "/openapi.json", "/health"})
MOST_INSIDE: Final = 256  # requests of one institution under way
SEND_SECONDS: Final = 60.0  # so long a client may leave what was sent to it unread
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


LINE: Final = "gongji.line"  # under which a request's scope has its ``Line``, where the listener gives one


class Line(Protocol):
    """The connection behind a request."""

    def is_down(self) -> bool:
        """Whether it has ended, also where the server has not been told yet."""
        ...

    def cut(self) -> None:
        """Ends it at once."""
        ...


class _Gone(Exception):
    """Nobody is there any more to be answered."""


class Guard:
    """Lets in who may come in, and answers for whatever goes wrong behind it: no stack trace leaves the house."""

    def __init__(
        self, app: ASGIApp, keys: Keys, buckets: Buckets, identity_secret: bytes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self._keys = keys
        self._buckets = buckets
        self._secret = identity_secret
        self._clock = clock
        self._inside: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        visit = _Visit(scope, send)
        scope["app"] = self  # so that the router raises what it refuses, and it is answered here
        try:
            if scope["path"] not in OPEN_PLACES:
                visit.owner = await self._owner(scope)
                self._enter(visit.owner)
                scope["state"] = {
                    "institution_id": visit.owner.institution_id,
                    "request_id": visit.request_id,
                    "check_key": partial(self._owner, scope),  # for who stays long: raises Problem, or one of TROUBLE
                }
                _refuse_encodings(scope)
            await self._app(scope, receive, visit.send)
        except _Gone:
            pass  # what became of the request is asked for under its number
        except Problem as problem:
            await visit.tell(problem)
        except HTTPException as refusal:  # the router's: no such place, or not that way
            code = "no_such_method" if refusal.status_code == 405 else "no_such_place"
            await visit.tell(Problem(code, headers=refusal.headers))
        except (Retry, *TROUBLE) as trouble:
            log.warning("unavailable: %s", type(trouble).__name__, extra={"fields": {"request_id": visit.request_id}})
            await visit.tell(Problem("unavailable", headers={"Retry-After": "1"}))
        except asyncio.CancelledError:  # the process ends, and waits no longer: the result is unknown, and can be asked for
            await visit.tell(Problem("unavailable", headers={"Retry-After": "1"}))
        except Exception:
            log.exception("a request failed", extra={"fields": {"request_id": visit.request_id}})
            await visit.tell(Problem("internal"))
        finally:
            if visit.owner is not None:
                self._leave(visit.owner)
            visit.log(self._secret)

    async def _owner(self, scope: Scope) -> Owner:
        scheme, _, text = _header(scope, b"authorization").partition(" ")
        owner = await self._keys.owner(text.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            raise Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="gongji"'})
        return owner

    def _enter(self, owner: Owner) -> None:
        self._inside[owner.institution_id] += 1
        wait = self._buckets.take(owner.institution_id, self._clock())
        if wait:
            raise Problem("rate_limited", headers={"Retry-After": str(math.ceil(wait))})
        if self._inside[owner.institution_id] > MOST_INSIDE:
            raise Problem("rate_limited", headers={"Retry-After": "1"})

    def _leave(self, owner: Owner) -> None:
        self._inside[owner.institution_id] -= 1
        if not self._inside[owner.institution_id]:
            del self._inside[owner.institution_id]


class _Visit:
    """One request: what was sent of the answer so far, and what the log will say."""

    def __init__(self, scope: Scope, send: Send) -> None:
        given = _header(scope, b"x-request-id")
        self.request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.owner: Owner | None = None
        self._scope = scope
        self._line: Line | None = scope.get(LINE)
        self._send = send
        self._began = time.monotonic()
        self._status = 0
        self._bytes = 0

    async def send(self, message: Message) -> None:
        """Sends on; gives up on who does not read. Raises _Gone."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.request_id.encode())]
        self._bytes += len(message.get("body", b""))
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._send(message)
        except TimeoutError:
            self._cut()
            raise _Gone from None
        except RuntimeError:  # the transport's, when the line went down this very moment
            if self._line is None or not self._line.is_down():
                raise
            raise _Gone from None

    def _cut(self) -> None:
        if self._line is not None:
            self._line.cut()

    async def tell(self, problem: Problem) -> None:
        """Sends a problem, if nothing was sent yet; otherwise the answer just ends, which must not look like its end."""
        if self._status:
            self._cut()
            return
        body = problem.body(self.request_id)
        headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
        if problem.status in {408, 413, 415}:  # what is left of the body is not read
            headers["connection"] = "close"
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        with suppress(_Gone, OSError):
            await self.send({"type": "http.response.start", "status": problem.status, "headers": raw})
            await self.send({"type": "http.response.body", "body": body})

    def log(self, secret: bytes) -> None:
        """One line: the kind of place and not the place, whose key as a mask; no member, no number, no content."""
        fields = {
            "request_id": self.request_id,
            "method": self._scope["method"][:8],
            "place": getattr(self._scope.get("endpoint"), "__name__", "-"),
            "status": self._status,
            "ms": round((time.monotonic() - self._began) * 1000, 1),
            "bytes": self._bytes,
            "institution": mask(self.owner.institution_id, secret) if self.owner else None,
        }
        log.info("request", extra={"fields": fields})


def _header(scope: Scope, name: bytes) -> str:
    values = [value for found, value in scope["headers"] if found == name]
    return values[0].decode("latin-1") if len(values) == 1 else ""


def _refuse_encodings(scope: Scope) -> None:
    if _header(scope, b"content-encoding").lower() not in {"", "identity"}:
        raise Problem("encoding")
