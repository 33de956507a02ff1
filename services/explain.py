"""How each fen of an outcome came about, worked out anew from the stored grounds. Pure.

``work_out`` decides again on what the decision rested on, compares to the fen, and gives the trace: the cost, each
step of the rules, and who paid what was left. ``gongji claim explain`` and ``gongji replay --trace`` show it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from services.account import sums
from services.account.use import permission
from services.adjudication import engine
from services.adjudication.bill import TraceLine
from services.adjudication.decision import differing
from services.explain_lines import bill_lines, priced_otherwise
from services.intake.number import Number
from shared import quote
from shared.claim import AccountUse, Claim
from shared.errors import Stop
from shared.events import Decision, Event, Verdict
from shared.identity import event_id
from shared.money import signed_fen as fen
from shared.money import yuan
from shared.outcome import Outcome
from shared.policy import Version
from shared.reasons import NOT_BINDING

_COST = ("own_paid", "over_limit", "pre_self_pay", "in_scope")
_FUNDS = ("pooled", "large_expense", "civil_servant", "veterans")
_PAYERS = ("account", "family_account", "cash")
_ADJUDICATED = ("total", *_COST, "deductible", *_FUNDS)


class Grounds(NamedTuple):
    """What an outcome rests on.

    ``first``: of a reversal (or a further revision), the decision it takes back (or replaces), and the outcome that stood.
    """

    event: Event  # with claim, verdict and decision
    version: Version | None  # the pack that decided; None where the verdict rejects without one
    first: tuple[Event, Outcome] | None = None


class Working(NamedTuple):
    """The trace, and what came out otherwise than it is stored: nothing, when the result is proven.

    ``unproven``: why the grounds do not tell, where they do not.
    """

    trace: tuple[TraceLine, ...]
    differences: tuple[str, ...] = ()
    unproven: str | None = None


def work_out(outcome: Outcome, grounds: Grounds) -> Working:
    """Works an outcome out anew. Raises Stop for grounds that lack what their kind needs."""
    decision = grounds.event.decision
    if decision is None:
        raise Stop("these grounds hold no decision")
    if outcome.kind == "reversal":
        return _reversal(outcome, decision, grounds)
    event, verdict = grounds.event, grounds.event.verdict
    if event.claim is not None and verdict is not None:
        if event.revision:
            return _revision(outcome, event.claim, verdict, grounds)
        return _claim(outcome, event.claim, verdict, decision, grounds.version)
    if event.use is not None and verdict is not None:
        return _use(outcome, event.use, verdict, decision, grounds.version)
    raise Stop("these grounds hold neither a claim nor an account use, or no verdict")


def refused(outcome: Outcome, standing: Number | None) -> Working:
    """A record that intake turned away: it never came before the rules. ``standing``: its number, which bears it out.

    Of one that breaks the contract only the record itself could show that, and the books do not keep it.
    """
    code = outcome.reasons[0].code
    if code in NOT_BINDING:
        return Working(tuple(_reasons(outcome)), unproven="decided at intake, on the record itself (claims.submitted)")
    differences = (
        () if standing is not None and _borne_out(code, outcome, standing) else (f"its number does not bear out {code}",)
    )
    return Working(tuple(_reasons(outcome)), differences)


def _borne_out(code: str, outcome: Outcome, standing: Number) -> bool:
    """The number is as it must be for this refusal, and the outcome has the id that such a one has."""
    if code == "duplicate_conflict":  # the id tells the content, which is another than the number is bound to
        same = (event_id(outcome.kind, *standing.key, content=content) for content in ("", standing.digest))
        return bool(standing.kind) and outcome.event_id not in same
    closed = standing.closed and (code == "claim_not_found" or bool(standing.kind))
    return closed and outcome.event_id == event_id(outcome.kind, *standing.key)


def _claim(outcome: Outcome, claim: Claim, verdict: Verdict, stored: Decision, version: Version | None) -> Working:
    again, steps = engine.explain(claim, verdict, version, engine.counters_before(claim, stored))
    differences = [*_compared(stored, again), *_carried(outcome, stored), *priced_otherwise(claim, verdict)]
    if outcome.outcome == "rejected":
        return Working(tuple(_reasons(outcome)), tuple(differences))
    trace = [*bill_lines(claim, verdict), _cost(outcome), *(steps or _reasons(outcome))]
    due = again.total - again.fund_total
    trace.append(_sum("fund_total", outcome, _FUNDS))
    formula = f"{yuan(again.total)} - {yuan(again.fund_total)}"
    trace.append(_line("person", None, {"total": again.total, "fund_total": again.fund_total}, formula, due))
    own_share = None if version is None else version.account.rule("own_share")
    article = None if own_share is None else own_share.article
    promised = quote.read(claim.quote) if claim.quote else None
    if claim.use_account and verdict.account_open:
        most = None if promised is None else promised.account
        trace.append(_from_account(outcome, due, article, most))
        differences += _account_differs(outcome, due, most)
    elif outcome.account != "0.00":
        differences.append(f"account is stored as {outcome.account}, and was not to be used")
    if claim.family_payer and verdict.account_open and verdict.family_allowed:
        trace.append(_from_family(outcome, due, article, None if promised is None else promised.family_account))
        differences += _family_differs(outcome, trace[-1])
    elif outcome.family_account != "0.00":
        differences.append(f"family_account is stored as {outcome.family_account}, and was not to be used")
    trace.append(_cash(outcome, due))
    differences += _cash_differs(outcome, due)
    return Working(tuple(trace), tuple(differences))


def standing(outcomes: Sequence[Outcome]) -> Outcome:
    """A claim's outcome as it stands: the first, with every difference since."""
    names = (*_ADJUDICATED, "fund_total", *_PAYERS)
    amounts = {name: yuan(sum(fen(getattr(one, name)) for one in outcomes)) for name in names}
    return msgspec.structs.replace(outcomes[0], **amounts)


def _revision(outcome: Outcome, claim: Claim, verdict: Verdict, grounds: Grounds) -> Working:
    """What the claim comes to now, and by how much that differs from what stood."""
    stored = grounds.event.decision
    if grounds.first is None or stored is None:
        raise Stop("what this revision replaces is not stored")
    again, steps = engine.explain(claim, verdict, grounds.version, engine.counters_before(claim, stored))
    differences = [*_compared(stored, again), *priced_otherwise(claim, verdict)]
    stood = grounds.first[1]
    share = sums.pay(again.total - again.fund_total, fen(stood.account), fen(stood.family_account))
    comes_to = {name: getattr(again, name) for name in (*_ADJUDICATED, "fund_total")} | share._asdict()
    trace = [*bill_lines(claim, verdict), *(steps or _reasons(outcome))]
    for name, now in comes_to.items():
        was = fen(getattr(stood, name))
        if was or now:
            trace.append(_line(f"revision:{name}", None, {"stood": was, "now": now}, f"{yuan(now)} - {yuan(was)}", now - was))
        if fen(getattr(outcome, name)) != now - was:
            differences.append(f"{name} is stored as {getattr(outcome, name)}, and comes to {yuan(now - was)}")
    return Working(tuple(trace), tuple(differences))


def _use(outcome: Outcome, use: AccountUse, verdict: Verdict, stored: Decision, version: Version | None) -> Working:
    if stored.outcome == "rejected":
        said = () if verdict.rejection is None else (verdict.rejection,)
        differences = () if outcome.reasons == said else ("the reasons are not those of the verdict",)
        return Working(tuple(_reasons(outcome)), differences)
    ruling = permission(use, verdict, None if version is None else version.account)
    word = "settled" if ruling.refusal is None else "rejected"
    if outcome.outcome != word:
        return Working(tuple(_reasons(outcome)), (f"outcome is stored as {outcome.outcome}, and comes to {word}",))
    if ruling.refusal is not None:
        differences = () if outcome.reasons == (ruling.refusal,) else ("the reasons are not those of the rules",)
        return Working(tuple(_reasons(outcome)), differences)
    article = ruling.articles[0] if ruling.articles else None
    trace = (_cost(outcome), _from_account(outcome, use.amount, article), _cash(outcome, use.amount))
    return Working(trace, (*_account_differs(outcome, use.amount), *_cash_differs(outcome, use.amount)))


def _reversal(outcome: Outcome, stored: Decision, grounds: Grounds) -> Working:
    if grounds.first is None:
        raise Stop("what this reversal takes back is not stored")
    event, first = grounds.first
    if outcome.outcome == "rejected":
        return Working(tuple(_reasons(outcome)), unproven="the grounds do not keep which other claims stood at the time")
    if event.decision is None:
        raise Stop("what this reversal takes back was not decided")
    differences = []
    trace = []
    for name in ("total", *_COST, "deductible", *_FUNDS, "fund_total", *_PAYERS):
        settled, taken_back = fen(getattr(first, name)), fen(getattr(outcome, name))
        if settled or taken_back:
            trace.append(_line(f"reversal:{name}", None, {"settled": settled}, f"0 - {yuan(settled)}", -settled))
        if taken_back != -settled:
            differences.append(f"{name} is stored as {yuan(taken_back)}, and comes to {yuan(-settled)}")
    if event.claim is not None:
        again = engine.reverse(event.claim, event.decision, engine.counters_before(event.claim, stored))
        differences += _compared(stored, again)
        trace += _given_back(event.decision, again)
    return Working(tuple(trace or _reasons(outcome)), tuple(differences))


def _given_back(original: Decision, reversal: Decision) -> Iterator[TraceLine]:
    for name, after in reversal.after.items():
        before, took = reversal.before[name], original.after[name] - original.before[name]
        if after != before:
            shown = _shown(name, {"before": before, "took": took})
            formula = f"{shown['before']} - {shown['took']}"
            yield {"step": f"give_back:{name}", "article": None, "inputs": shown, "formula": formula} | {
                "result": _shown(name, {"after": after})["after"]
            }


def _shown(name: str, values: Mapping[str, int]) -> dict[str, object]:
    """An accumulator's values: counts as numbers, money in yuan."""
    return {key: value if name.endswith("_count") else yuan(value) for key, value in values.items()}


def _compared(stored: Decision, again: Decision) -> Iterator[str]:
    for name, was, comes_to in differing(stored, again):
        yield f"{name} is stored as {was!r}, and comes to {comes_to!r}"


def _carried(outcome: Outcome, decision: Decision) -> Iterator[str]:
    """Whether the outcome says what was decided."""
    if outcome.outcome != decision.outcome:
        yield f"the outcome says {outcome.outcome}, the decision {decision.outcome}"
    for name in _ADJUDICATED:
        decided = yuan(getattr(decision, name))
        if getattr(outcome, name) != decided:
            yield f"{name} is {getattr(outcome, name)} in the outcome, {decided} in the decision"


def _account_differs(outcome: Outcome, due: int, most: int | None = None) -> Iterator[str]:
    paid = min(_asked_of_account(outcome, due, most).values())
    if fen(outcome.account) != paid:
        yield f"account is stored as {outcome.account}, and comes to {yuan(paid)}"


def _family_differs(outcome: Outcome, line: TraceLine) -> Iterator[str]:
    """What the payer had is not among the grounds: only that he was not asked for more than was left."""
    asked = line["inputs"]
    assert isinstance(asked, dict)
    most = min(fen(amount) for amount in asked.values())
    if not 0 <= fen(outcome.family_account) <= most:
        yield f"family_account is stored as {outcome.family_account}, and comes to {yuan(most)} at most"


def _cash_differs(outcome: Outcome, due: int) -> Iterator[str]:
    cash = due - fen(outcome.account) - fen(outcome.family_account)
    if fen(outcome.cash) != cash:
        yield f"cash is stored as {outcome.cash}, and comes to {yuan(cash)}"


def _balance_before(outcome: Outcome) -> int:
    return fen(outcome.account_balance or "0.00") + fen(outcome.account)


def _reasons(outcome: Outcome) -> Iterator[TraceLine]:
    """Where no amount was reckoned: why not."""
    for why in outcome.reasons:
        yield _line(f"reason:{why.code}", why.article, {}, "0", 0)


def _cost(outcome: Outcome) -> TraceLine:
    return _sum("total", outcome, _COST)


def _sum(name: str, outcome: Outcome, parts: tuple[str, ...]) -> TraceLine:
    inputs = {part: fen(getattr(outcome, part)) for part in parts}
    return _line(name, None, inputs, " + ".join(yuan(value) for value in inputs.values()), sum(inputs.values()))


def _asked_of_account(outcome: Outcome, due: int, most: int | None) -> dict[str, int]:
    """What the account may pay: no more than is due, than it holds, than a quote promised (``most``)."""
    return {"due": due, "balance_before": _balance_before(outcome)} | _quoted(most)


def _quoted(most: int | None) -> dict[str, int]:
    return {} if most is None else {"quoted": most}


def _from_account(outcome: Outcome, due: int, article: str | None, most: int | None = None) -> TraceLine:
    inputs = _asked_of_account(outcome, due, most)
    formula = f"min({', '.join(yuan(value) for value in inputs.values())})"
    return _line("account", article, inputs, formula, min(inputs.values()))


def _from_family(outcome: Outcome, due: int, article: str | None, most: int | None) -> TraceLine:
    inputs = {"left": due - fen(outcome.account)} | _quoted(most)
    formula = f"min({', '.join(yuan(value) for value in inputs.values())}, the payer's balance)"
    return _line("family_account", article, inputs, formula, fen(outcome.family_account))


def _cash(outcome: Outcome, due: int) -> TraceLine:
    account, family = fen(outcome.account), fen(outcome.family_account)
    formula = f"{yuan(due)} - {yuan(account)} - {yuan(family)}"
    return _line("cash", None, {"due": due, "account": account, "family_account": family}, formula, due - account - family)


def _line(step: str, article: str | None, inputs: Mapping[str, int], formula: str, result: int) -> TraceLine:
    shown = {name: yuan(value) for name, value in inputs.items()}
    return {"step": step, "article": article, "inputs": shown, "formula": formula, "result": yuan(result)}
