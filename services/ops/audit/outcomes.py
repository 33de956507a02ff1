"""What the outcomes say in their own bytes: I2 the table's amounts, I4 the id of their key, I5 conflicts, I7 reasons."""
# ruff: noqa: S608 - SQL put together from this package's own names

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

from services.ops.audit.check import Check, Finding
from services.ops.audit.view import View, pages
from shared import reasons
from shared.events import REJECTED, SETTLED
from shared.identity import event_id
from shared.money import yuan
from shared.outcome import Outcome, decode
from shared.strict_json import UNREADABLE

Row = Any  # a record of the driver; in tests, a mapping
Judge = Callable[[Row, Outcome], str | None]

_AMOUNTS: Final = (
    *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible", "pooled", "large_expense", "civil_servant"),
    *("veterans", "fund_total", "account", "family_account", "cash"),
)
_about = itemgetter("institution_id", "claim_no", "kind", "revision", "member_id", "outcome")
_amounts_kept, _amounts_said = itemgetter(*_AMOUNTS), attrgetter(*_AMOUNTS)
# A condition of fact or of the register, which no article of a city states.
_WITHOUT_ARTICLE: Final = frozenset({"nothing_in_scope", "unknown_item", "account_use_not_allowed"})

_REJECTS: Final = reasons.REJECTED | reasons.REJECTS_USE

_NONE, _MILLISECOND = timedelta(), timedelta(milliseconds=1)
_ROWS = f"""
    select institution_id, claim_no, kind, revision, member_id, outcome, target, insured_region, care_region, settled_at,
        payee, value,
        {", ".join(_AMOUNTS)}
    from account.outcome where kind <> 'answer' and ($1::timestamptz is null or settled_at >= $1)
"""
_GIVEN = "select event_id, value from intake.rejection"
_BOUND = """
    select institution_id, claim_no, kind, encode(digest, 'hex') as digest, closed
    from unnest($1::text[], $2::text[]) as q (institution_id, claim_no) join intake.submission using (institution_id, claim_no)
"""


class _RowCheck(NamedTuple):
    check: Check
    judge: Judge


def as_stored(row: Row, said: Outcome) -> str | None:
    """The bytes say what the columns say."""
    purchase = row["kind"] == "account_use"
    number = said.use_no if purchase else said.claim_no
    told = (said.institution_id, number, said.kind, said.revision, said.member_id, said.outcome)
    if told != _about(row):
        return f"the bytes are about {told}"
    for name, one, fen in zip(_AMOUNTS, _amounts_said(said), _amounts_kept(row), strict=True):
        if one != (yuan(fen) if fen else "0.00"):  # most are nothing
            return f"{name} is {one} in the bytes, {yuan(fen)} in the table"
    if row["target"] != (REJECTED if said.outcome == "rejected" else SETTLED):
        return f"{said.outcome}, and announced on {row['target']}"
    where = (said.insured_region or "", said.care_region or "", said.payee or "")
    if where != (row["insured_region"], row["care_region"], row["payee"]):
        return f"insured in {where[0]}, treated in {where[1]}, paid to {where[2] or 'the institution'} by the bytes"
    return _when(row, said)


def _when(row: Row, said: Outcome) -> str | None:
    """An audit --since goes by the table's instant; the bytes have its milliseconds."""
    try:
        if _NONE <= row["settled_at"] - datetime.fromisoformat(said.settled_at) < _MILLISECOND:  # type: ignore[arg-type]
            return None
    except (TypeError, ValueError):  # none, or no instant
        pass
    return f"settled at {said.settled_at} by the bytes, at {row['settled_at']} by the table"


def under_its_id(row: Row, said: Outcome) -> str | None:
    """The event id is that of the key: the same submission always has the same."""
    expected = event_id(row["kind"], row["institution_id"], row["claim_no"], row["revision"])
    return None if said.event_id == expected else f"the event id is {said.event_id}, the key's is {expected}"


def with_reasons(_row: Row, said: Outcome) -> str | None:
    """Rejections and claims for which no fund pays say why: code, article where one applies, both languages."""
    if said.outcome == "rejected" and not any(one.code in _REJECTS for one in said.reasons):
        return "rejected without a reason that rejects"
    unpaid = said.outcome == "settled" and said.kind == "claim" and said.fund_total == "0.00"
    if unpaid and not said.reasons:
        return "no fund pays, and no reason is given"
    for one in said.reasons:
        if one.code not in reasons.TEXTS:
            return f"{one.code} is not on the list of reasons"
        if not one.zh or not one.en:
            return f"{one.code} has no text in {'Chinese' if one.en else 'English'}"
        if one.article is None and one.code in reasons.SETTLED - _WITHOUT_ARTICLE:
            return f"{one.code} names no article"
    return None


_CHECKS: Final = (
    _RowCheck(
        Check(
            "I2", "bytes_equal_columns", "结果字节与表列一致", "an outcome's bytes say what its row says", ("account.outcome",)
        ),
        as_stored,
    ),
    _RowCheck(
        Check("I4", "id_is_of_the_key", "结果标识由结算号确定", "an outcome's id is that of its key", ("account.outcome",)),
        under_its_id,
    ),
    _RowCheck(
        Check(
            "I7",
            "reasons_are_given",
            "拒付与零支付均有原因、条款与中英文说明",
            "rejections and zero payments say why, with article, in Chinese and English",
            ("account.outcome",),
        ),
        with_reasons,
    ),
)

_REJECTIONS: Final = Check(
    "I7",
    "rejections_are_given",
    "受理环节的拒收均有原因",
    "what intake rejected says why, under the id it is kept by, and books nothing",
    ("intake.rejection",),
)
_CONFLICTS: Final = Check(
    "I5",
    "first_content_stands",
    "同号异容判冲突，首次结果有效",
    "a conflict is against a number that is bound to other content",
    ("intake.rejection", "intake.submission"),
)


async def outcomes(view: View) -> list[Finding]:
    """One pass over the outcomes, one over intake's rejections."""
    findings = [Finding(one.check) for one in _CHECKS]
    async for page in pages(view.connection, _ROWS, view.since):
        for row in page:
            _judge(row, findings)
    if view.since is not None:
        for finding in findings:
            finding.notes.append("outcomes settled since then")
    return findings + await _rejections(view)


def _judge(row: Row, findings: Sequence[Finding]) -> None:
    for finding in findings:
        finding.rows += 1
    try:
        said = decode(row["value"])
    except UNREADABLE as unreadable:
        findings[0].breach(name_of(row), f"the bytes are no outcome: {unreadable}")
        return
    for one, finding in zip(_CHECKS, findings, strict=True):
        if wrong := one.judge(row, said):
            finding.breach(name_of(row), wrong)


def name_of(row: Row) -> str:
    """A claim's row as breaches name it."""
    revision = f"#{row['revision']}" if row["revision"] else ""
    return f"{row['institution_id']}/{row['claim_no']} {row['kind']}{revision}"


async def _rejections(view: View) -> list[Finding]:
    given = Finding(_REJECTIONS, rows=await view.rows(["intake.rejection"]))
    conflicts = Finding(_CONFLICTS)
    disputed: list[Outcome] = []
    async for row in view.connection.cursor(_GIVEN, prefetch=2000):
        try:
            said = decode(row["value"])
        except UNREADABLE as unreadable:
            given.breach(row["event_id"], f"the bytes are no outcome: {unreadable}")
            continue
        booked = next((name for name in _AMOUNTS if getattr(said, name) != "0.00"), None)
        wrong = with_reasons(row, said) or (f"it books {booked}" if booked else None)
        if said.event_id != row["event_id"] or said.outcome != "rejected":
            wrong = f"its bytes are the {said.outcome} outcome {said.event_id}"
        if wrong:
            given.breach(row["event_id"], wrong)
        if any(one.code == "duplicate_conflict" for one in said.reasons):
            disputed.append(said)
    await _conflicts(view, disputed, conflicts)
    return [given, conflicts]


async def _conflicts(view: View, disputed: list[Outcome], finding: Finding) -> None:
    finding.rows = len(disputed)
    keys = [(said.institution_id, str(said.use_no if said.kind == "account_use" else said.claim_no)) for said in disputed]
    rows = await view.connection.fetch(_BOUND, [key[0] for key in keys], [key[1] for key in keys])
    bound = {(row["institution_id"], row["claim_no"]): row for row in rows}
    for key, said in zip(keys, disputed, strict=True):
        first = bound.get(key)
        if first is None or first["digest"] is None:
            finding.breach("/".join(key), "a conflict was answered, and the number is bound to nothing")
        elif said.event_id == event_id(said.kind, *key, content=first["digest"]):
            finding.breach("/".join(key), "a conflict was answered to the very content the number is bound to")
