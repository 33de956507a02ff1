"""The counter (窗口): HTTP for a hospital's program. One record in, its outcome back; a trial; a stream of a day.

Claims go to ``claims.submitted`` like every other feed and settle nowhere else (``desk.py``). A result that a client did
not get is learned by asking for the number, or by sending the same again.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from services.intake.answers import Answers, Cursor
from services.intake.api_body import whole
from services.intake.api_feed import Feed
from services.intake.api_openapi import document
from services.intake.api_page import page
from services.intake.api_places import DEFAULT_WAIT, Place, asked, place_of, preferred_wait
from services.intake.api_problems import Problem, bad_parameter, refused, unreadable
from services.intake.desk import Desk, Handed
from services.intake.submission import Submission, read
from shared.calendar import SHANGHAI, read_date
from shared.errors import Unreadable
from shared.outcome import Outcome, decode
from shared.runtime.aside import Aside

Trial = Callable[[Submission], Awaitable[tuple[Outcome, str | None]]]
Counters = Callable[[str, date], Awaitable[Mapping[str, Any] | None]]


class Counter:
    """The counter's places. ``trial`` and ``counters`` come from above: they need every service's pure code."""

    def __init__(self, desk: Desk, answers: Answers, trial: Trial, counters: Counters, *, partitions: int) -> None:
        self._desk = desk
        self._answers = answers
        self._trial = trial
        self._counters = counters
        self._partitions = partitions
        self._feeds: dict[str, int] = {}
        self._aside = Aside()

    def routes(self) -> Router:
        """The places as an ASGI app, for the guard to stand before."""
        return Router(
            [
                Route("/", asked(self.description)),
                Route("/openapi.json", asked(self.openapi)),
                Route("/health", asked(self.health)),
                Route("/v1/claims/trial", asked(self.trial), methods=["POST"]),
                Route("/v1/claims", asked(self.claims), methods=["POST"]),
                Route("/v1/reversals", asked(self.reversals), methods=["POST"]),
                Route("/v1/feed", asked(self.feed), methods=["POST"]),
                Route("/v1/outcomes", asked(self.outcomes, "after")),
                Place("/v1/claims/{institution_id}/{claim_no}", asked(self.outcome, "kind")),
                Place("/v1/members/{member_id}/counters", asked(self.counters, "on")),
            ],
            redirect_slashes=False,
        )

    async def description(self, _request: Request) -> Response:
        """What there is, for people."""
        return Response(page(), media_type="text/html; charset=utf-8")

    async def openapi(self, _request: Request) -> Response:
        """What there is, for programs."""
        return _json(document())

    async def health(self, _request: Request) -> Response:
        """Whether anybody is there."""
        return _json({"status": "ok"})

    async def claims(self, request: Request) -> Response:
        """Settles a claim or an account use."""
        return await self._settle(request, ("claim", "account_use"))

    async def reversals(self, request: Request) -> Response:
        """Cancels a claim or an account use."""
        return await self._settle(request, ("reversal",))

    async def _settle(self, request: Request, kinds: tuple[str, ...]) -> Response:
        handed = await self._handed(request, kinds)
        submission = handed.submission
        seconds = preferred_wait(request.headers.getlist("prefer"))
        value = await self._desk.settle(handed, DEFAULT_WAIT if seconds is None else seconds)
        applied = {} if seconds is None else {"preference-applied": f"wait={seconds}"}
        if value is None:
            place = place_of(submission)
            headers = {"location": place, "retry-after": "1", **applied}
            return _json({"status": "in_progress", "location": place}, status=202, headers=headers)
        outcome = decode(value)
        if outcome.outcome == "rejected":
            problem = rejected(outcome, value, submission)
            problem.headers |= applied
            raise problem
        return Response(value, media_type="application/json", headers=applied)

    async def _handed(self, request: Request, kinds: tuple[str, ...]) -> Handed:
        """The record that a request brings. Raises Problem for one that the counter does not take in."""
        value = await whole(request)
        try:
            submission = await self._aside(len(value), read, value)
        except Unreadable as fault:
            raise unreadable(str(fault)) from fault
        _check_owner(request, submission.institution_id)
        if submission.kind not in kinds:
            raise Problem("wrong_type", (f"此处接受：{'、'.join(kinds)}", f"taken here: {', '.join(kinds)}"))
        if submission.faults:
            raise refused(submission.faults)
        return Handed(submission, value)

    async def trial(self, request: Request) -> Response:
        """What would be paid."""
        submission = (await self._handed(request, ("claim",))).submission
        outcome, given = await self._trial(submission)
        shown = msgspec.to_builtins(outcome) | {"type": "trial", "quote": given}
        del shown["event_id"], shown["revision"]
        if outcome.outcome == "rejected":
            raise refused(outcome.reasons, trial=shown)
        return _json(shown)

    async def feed(self, request: Request) -> Response:
        """A day in a stream."""
        return Feed(request, self._desk, self._feeds, self._aside)

    async def outcome(self, request: Request) -> Response:
        """The outcome of a number."""
        institution_id, claim_no = request.path_params["institution_id"], request.path_params["claim_no"]
        _check_owner(request, institution_id)
        kind = request.query_params.get("kind", "claim")
        if kind not in {"claim", "reversal"}:
            raise bad_parameter("kind", "claim 或 reversal", "claim or reversal")
        found = await self._desk.ask(institution_id, claim_no, kind)
        if found is None:
            turned_away = await self._answers.turned_away(institution_id, claim_no, kind, self._partitions)
            raise not_bound(*turned_away) if turned_away else Problem("not_found")
        if found.value is None:
            return _json({"status": "in_progress"}, status=202, headers={"retry-after": "1"})
        return Response(found.value, media_type="application/json")

    async def outcomes(self, request: Request) -> Response:
        """The institution's own outcomes, a page at a time."""
        after = request.query_params.get("after", "")
        try:
            cursor = Cursor.read(after, self._partitions) if after else Cursor.start(self._partitions)
        except ValueError as fault:
            raise bad_parameter("after", "上一页返回的 next", "the `next` of the page before") from fault
        found = await self._answers.page(request.state.institution_id, cursor)
        tail = msgspec.json.encode({"next": found.next.written(), "more": found.more})
        return Response(b'{"outcomes":[' + b",".join(found.outcomes) + b"]," + tail[1:], media_type="application/json")

    async def counters(self, request: Request) -> Response:
        """What a member has used and has left."""
        on = request.query_params.get("on")
        try:
            day = datetime.now(SHANGHAI).date() if on is None else read_date(on)
        except ValueError as fault:
            raise bad_parameter("on", "日期，如 2023-05-01", "a date, like 2023-05-01") from fault
        found = await self._counters(request.path_params["member_id"], day)
        if found is None:
            remedy = {"zh": "请核对参保人编号，或请经办机构登记", "en": "check the id, or have the agency register the member"}
            raise Problem("unknown_member", status=404, field="member_id", remedy=remedy)
        return _json(found)


def _check_owner(request: Request, institution_id: str) -> None:
    if institution_id != request.state.institution_id:
        raise Problem("other_institution")


def rejected(outcome: Outcome, value: bytes, submission: Submission) -> Problem:
    """The problem that tells of a rejection, with the outcome as it stands in the books."""
    stale = {} if outcome.stale is msgspec.UNSET else msgspec.to_builtins(outcome.stale)
    problem = refused(outcome.reasons, instance=place_of(submission), outcome=msgspec.Raw(value), **stale)
    if submission.kind == "account_use" and problem.more["field"] == "claim_no":
        problem.more["field"] = "use_no"
    return problem


def not_bound(outcome: Outcome, value: bytes) -> Problem:
    """The problem of a number under which nothing stands, because what was sent was rejected without using it up."""
    said = refused(outcome.reasons, rejection=msgspec.Raw(value))
    zh = f"该号下没有结算：最近一次发送被拒收（{said.code}），该号未占用"
    en = f"nothing stands under this number: what was sent last was rejected as {said.code}, and the number is still free"
    return Problem("not_found", (zh, en), **said.more)


def _json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, dict(headers or {}), media_type="application/json")
