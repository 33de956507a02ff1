"""The amounts of an outcome (fen), which must add up: contract.md, section 2, identities."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from shared.events import Decision
from shared.money import signed_fen
from shared.outcome import Outcome


class Sums(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """All amounts of one outcome in fen: of a settlement >= 0, of a reversal <= 0, of a rejection zero."""

    total: int = 0
    own_paid: int = 0
    over_limit: int = 0
    pre_self_pay: int = 0
    in_scope: int = 0
    deductible: int = 0
    pooled: int = 0
    large_expense: int = 0
    civil_servant: int = 0
    veterans: int = 0
    account: int = 0
    family_account: int = 0
    cash: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError if the amounts do not add up, or if some are positive and some negative."""
        parts = (self.own_paid, self.over_limit, self.pre_self_pay, self.in_scope)
        payers = (*self.funds, self.account, self.family_account, self.cash)
        if sum(parts) != self.total or sum(payers) != self.total:
            raise ValueError(f"the amounts do not add up: {self}")
        if (min(parts) < 0 or min(payers) < 0) and (max(parts) > 0 or max(payers) > 0) and not self.mixed:
            raise ValueError(f"some amounts are positive and some negative: {self}")

    @property
    def mixed(self) -> bool:
        """Whether some may be positive and some negative."""
        return False

    @property
    def funds(self) -> tuple[int, int, int, int]:
        """What each fund pays, in the order of ``journals.FUNDS``."""
        return (self.pooled, self.large_expense, self.civil_servant, self.veterans)

    @property
    def fund_total(self) -> int:
        """What all funds pay together."""
        return self.pooled + self.large_expense + self.civil_servant + self.veterans

    def negated(self) -> "Sums":
        """The exact negatives: what the reversal of these amounts carries."""
        return Sums(**{name: -getattr(self, name) for name in self.__struct_fields__})


class Change(Sums, frozen=True, kw_only=True):
    """By how much each amount of a claim differs from what stood before: of the total nothing, so some are below zero."""

    @property
    def mixed(self) -> bool:
        """A difference has both signs."""
        return True


NOTHING = Sums()


def told(outcome: Outcome) -> Sums:
    """The amounts that an outcome states. Raises ValueError."""
    kind = Change if outcome.kind == "claim" and outcome.revision else Sums
    return kind(**{name: signed_fen(getattr(outcome, name)) for name in Sums.__struct_fields__})


def together(revisions: Iterable[Sums]) -> Sums:
    """A claim's amounts as they stand: the first, and every difference since. Raises ValueError."""
    rows = list(revisions)
    return Sums(**{name: sum(getattr(row, name) for row in rows) for name in Sums.__struct_fields__})


class Share(NamedTuple):
    """How the person's share is paid (fen): own account, then the family payer's, then cash."""

    account: int
    family_account: int
    cash: int


def pay(due: int, own: int, family: int) -> Share:
    """Splits what the person owes: own account, family account, cash (policy.md, section 4).

    ``own`` and ``family``: the most that each account may give. All fen, >= 0. Raises ValueError for a negative
    amount due (the funds pay more than the cost).
    """
    if due < 0:
        raise ValueError(f"the funds pay more than the cost: {due}")
    account = min(due, own)
    family_account = min(due - account, family)
    return Share(account, family_account, due - account - family_account)


def of_claim(decision: Decision, share: Share) -> Sums:
    """The amounts of a settled claim: adjudication's, and the person's share. Raises ValueError."""
    return Sums(
        total=decision.total,
        own_paid=decision.own_paid,
        over_limit=decision.over_limit,
        pre_self_pay=decision.pre_self_pay,
        in_scope=decision.in_scope,
        deductible=decision.deductible,
        pooled=decision.pooled,
        large_expense=decision.large_expense,
        civil_servant=decision.civil_servant,
        veterans=decision.veterans,
        account=share.account,
        family_account=share.family_account,
        cash=share.cash,
    )


def change(stands: Sums, decision: Decision, share: Share) -> Change:
    """What a new decision changes of the amounts that stand. Raises ValueError."""
    now = of_claim(decision, share)
    return Change(**{name: getattr(now, name) - getattr(stands, name) for name in Sums.__struct_fields__})


def funds_of(decision: Decision) -> tuple[int, int, int, int]:
    """What each fund pays by a decision, in the order of ``journals.FUNDS``."""
    return (decision.pooled, decision.large_expense, decision.civil_servant, decision.veterans)


def of_purchase(amount: int, share: Share) -> Sums:
    """The amounts of an account use: no fund, wholly the person's own. Raises ValueError."""
    return Sums(
        total=amount,
        own_paid=amount,
        account=share.account,
        family_account=share.family_account,
        cash=share.cash,
    )
