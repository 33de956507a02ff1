"""From a record's bytes to a submission: a claim, a reversal or an account use, or what is wrong with it.

Pure. The order of checks is the contract's: readable, well formed, sums; whether the number is taken comes
after (``number.py``). What has no identity raises ``Unreadable``; everything else gets an answer.
"""

import hashlib
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

import msgspec
from pydantic import ValidationError

from services.intake import faults, plain
from services.intake.forms import (
    FORMS,
    AccountUseForm,
    ClaimForm,
    Form,
    LineForm,
    ReversalForm,
    is_identifier,
    line_amount,
)
from shared.claim import AccountUse, Amounts, Claim, Reversal
from shared.errors import Unreadable
from shared.events import REGISTER_TYPES
from shared.identity import number_of
from shared.reasons import Reason
from shared.strict_json import canonical, read_object

_PARTS: Final = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
# A sender's retry makes these anew, so they are no part of the content.
_MADE_ANEW: Final = frozenset({"submitted_at", "reversed_at", "reason"})

_encode = msgspec.json.Encoder(enc_hook=vars).encode  # a form's fields, in the form's order


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A record that has an identity. ``faults``: why it is refused before its number is looked at, or empty.

    ``digest`` (64 hex digits) is equal for equal content. ``member_id`` is None where nobody is named.
    """

    kind: str  # claim, reversal, account_use
    institution_id: str
    claim_no: str  # of an account use: its use_no
    member_id: str | None
    digest: str
    faults: tuple[Reason, ...] = ()
    claim: Claim | None = None
    reversal: Reversal | None = None
    use: AccountUse | None = None
    partition: int = 0  # a reversal's: where it came in


def read(value: bytes | None) -> Submission:
    """Reads a record of ``claims.submitted``. Raises Unreadable when nobody could be answered."""
    found = plain.read(value) if value else None
    if found is None:
        return read_carefully(value)
    claim, content = found
    return Submission(
        kind="claim",
        institution_id=claim.institution_id,
        claim_no=claim.claim_no,
        member_id=claim.member_id,
        digest=hashlib.sha256(content).hexdigest(),
        claim=claim,
    )


def read_carefully(value: bytes | None) -> Submission:
    """``read``, field by field: what is wrong, and where."""
    document = read_object(value)
    stated = document.get("type")
    kind = stated if isinstance(stated, str) and stated in FORMS else "claim"
    if stated in REGISTER_TYPES and not {"claim_no", "institution_id"} <= document.keys():
        raise Unreadable("a register line is no submission: it goes to the topic of its type")
    identity = number_of(document, kind)
    if stated != kind:
        fault = faults.wrong("type", stated) if "type" in document else faults.missing("type")
        return _malformed(document, kind, identity, (fault,))
    try:
        form = FORMS[kind].model_validate(_with_few_unknown(document, FORMS[kind]))
    except ValidationError as error:
        return _malformed(document, kind, identity, faults.malformed(error))
    match form:
        case ClaimForm():
            problems = _shape(form)
            return _malformed(document, kind, identity, problems) if problems else _claim(form)
        case ReversalForm():
            return _reversal(form)
        case AccountUseForm():
            return _account_use(form)
    raise TypeError(f"no reader for a {kind}")


def _with_few_unknown(document: dict[str, Any], form: type[Form]) -> dict[str, Any]:
    """No more unknown fields than are told, in the document and in each line: 80,000 take longer to list than to read."""
    few = _few_unknown(document, form)
    match few.get("lines"):
        case [*lines]:
            return few | {"lines": [_few_unknown(line, LineForm) if isinstance(line, dict) else line for line in lines]}
    return few


def _few_unknown(given: dict[str, Any], form: type[Form]) -> dict[str, Any]:
    known = form.model_fields
    if len(given) <= len(known) + faults.MOST_REASONS:
        return given
    unknown = islice((name for name in given if name not in known), faults.MOST_REASONS)
    return {name: value for name, value in given.items() if name in known} | {name: given[name] for name in unknown}


def _malformed(document: dict[str, Any], kind: str, identity: tuple[str, str], problems: tuple[Reason, ...]) -> Submission:
    member_id = document.get("member_id")
    content = {name: value for name, value in document.items() if name not in _MADE_ANEW}
    return Submission(
        kind=kind,
        institution_id=identity[0],
        claim_no=identity[1],
        member_id=member_id if is_identifier(member_id) else None,
        digest=hashlib.sha256(canonical(content)).hexdigest(),
        faults=problems,
    )


def _digest(form: Form) -> str:
    """Of the canonical values, without what a retry makes anew."""
    content = {name: value for name, value in vars(form).items() if value is not None and name not in _MADE_ANEW}
    return hashlib.sha256(_encode(content)).hexdigest()


def _shape(form: ClaimForm) -> tuple[Reason, ...]:
    """What the fields say against each other: the amounts or the lines, and each line once."""
    given = [name for name in _PARTS if getattr(form, name) is not None]
    if form.lines is None:
        if not given:
            return (faults.amounts_or_lines("lines"),)
        return tuple(faults.missing(name) for name in _PARTS if name not in given)
    if given:
        return (faults.amounts_or_lines(given[0]),)
    seen: set[str] = set()
    for position, line in enumerate(form.lines):
        if line.line_no in seen:
            return (faults.wrong(f"lines[{position}].line_no", line.line_no, "line_no"),)
        seen.add(line.line_no)
    return ()


def _claim(form: ClaimForm) -> Submission:
    problems = _line_sums(form.total, form.lines) if form.lines else _amount_sums(form)
    if not problems and form.visited_at > form.submitted_at:
        problems = (faults.in_future(form.visited_at.isoformat(), form.submitted_at.isoformat()),)
    return Submission(
        kind="claim",
        institution_id=form.institution_id,
        claim_no=form.claim_no,
        member_id=form.member_id,
        digest=_digest(form),
        faults=problems,
        claim=None if problems else _canonical_claim(form),
    )


def _amount_sums(form: ClaimForm) -> tuple[Reason, ...]:
    parts = sum(getattr(form, name) for name in _PARTS)
    return () if parts == form.total else (faults.sums_differ("total", form.total, parts),)


def _line_sums(total: int, lines: Sequence[LineForm]) -> tuple[Reason, ...]:
    problems = []
    for position, line in enumerate(lines):
        worked_out = line_amount(line.quantity, line.unit_price)
        if worked_out != line.amount:
            problems.append(faults.sums_differ(f"lines[{position}].amount", line.amount, worked_out))
    of_lines = sum(line.amount for line in lines)
    if of_lines != total:
        problems.append(faults.sums_differ("total", total, of_lines))
    return tuple(problems[: faults.MOST_REASONS])


def _canonical_claim(form: ClaimForm) -> Claim:
    amounts = None
    if form.lines is None:
        own_paid, over_limit, pre_self_pay, in_scope = (getattr(form, name) for name in _PARTS)
        amounts = Amounts(
            total=form.total,
            own_paid=own_paid,
            over_limit=over_limit,
            pre_self_pay=pre_self_pay,
            in_scope=in_scope,
        )
    return Claim(
        claim_no=form.claim_no,
        institution_id=form.institution_id,
        member_id=form.member_id,
        benefit=form.benefit,
        channel=form.channel,
        visited_at=form.visited_at.isoformat(),
        visited_on=form.visited_at.date(),
        submitted_at=form.submitted_at.isoformat(),
        submitted_on=form.submitted_at.date(),
        total=form.total,
        emergency=form.emergency,
        use_account=form.use_account,
        amounts=amounts,
        lines=tuple(plain.line_of(line) for line in form.lines or ()),
        insured_region=form.insured_region,
        prescribed_by=form.prescribed_by,
        doctor_id=form.doctor_id,
        family_payer=form.family_payer,
        quote=form.quote,
        excluded_as=form.excluded_as,
    )


def _reversal(form: ReversalForm) -> Submission:
    return Submission(
        kind="reversal",
        institution_id=form.institution_id,
        claim_no=form.claim_no,
        member_id=None,
        digest=_digest(form),
        reversal=Reversal(
            claim_no=form.claim_no,
            institution_id=form.institution_id,
            reversed_at=form.reversed_at.isoformat(),
            reason=form.reason,
        ),
    )


def _account_use(form: AccountUseForm) -> Submission:
    return Submission(
        kind="account_use",
        institution_id=form.institution_id,
        claim_no=form.use_no,
        member_id=form.member_id,
        digest=_digest(form),
        use=AccountUse(
            use_no=form.use_no,
            institution_id=form.institution_id,
            member_id=form.member_id,
            purpose=form.purpose,
            amount=form.amount,
            used_at=form.used_at.isoformat(),
            used_on=form.used_at.date(),
            for_member=form.for_member,
        ),
    )
