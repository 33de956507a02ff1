"""Which journal a decision gives: postings between the accounts of ``chart.py``, whose names are made here.

Money owed (to members, institutions, other regions) stands on the credit side; a fund is debited with what it
spends. Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.account.ledger import Posting, mirrored
from services.account.sums import Sums

MEMBER = "member"  # who gets the money, where it is not the institution
FUNDS = ("pooled", "large_expense", "civil_servant", "veterans")
CONTRIBUTIONS = "contributions"

Side = tuple[str, int]  # an account, or whose; fen


class Place(NamedTuple):
    """Where the money comes from and goes to: the insured region, the region of care, the institution."""

    insured: str
    care: str
    institution_id: str

    @property
    def remote(self) -> bool:
        """Care in another region: two regions' books are touched (policy.md, section 6)."""
        return bool(self.care) and bool(self.insured) and self.insured != self.care


def personal(member_id: str) -> str:
    """The name of a member's account."""
    return f"personal:{member_id}"


def member(region: str, member_id: str) -> str:
    """What a region owes a member outside his account; below zero, what he owes it."""
    return f"member:{region}:{member_id}"


def fund(region: str, name: str) -> str:
    """A fund of a region, by what it pays: one of ``FUNDS``, or the credits of accounts."""
    return f"fund:{region}:{name}"


def payable(institution_id: str) -> str:
    """What an institution is owed."""
    return f"payable:{institution_id}"


def due_to(insured: str, care: str) -> str:
    """What the region of insurance owes the region of care."""
    return f"due_to:{insured}:{care}"


def due_from(care: str, insured: str) -> str:
    """What the region of care is owed by the region of insurance."""
    return f"due_from:{care}:{insured}"


def bank(region: str) -> str:
    """A region's money."""
    return f"bank:{region}"


def retention(region: str, institution_id: str) -> str:
    """What is kept of an institution's year for the assessment."""
    return f"retention:{region}:{institution_id}"


def adjustment(region: str) -> str:
    """What institutions get more or less than they incurred."""
    return f"adjustment:{region}"


def left_to(disposal: str, region: str) -> str:
    """Where the balance of a closed account went: ``disposal`` is transferred, paid_out or heirs."""
    return f"{disposal}:{region}"


def source(region: str, name: str) -> str:
    """The account that credits come from: ``contributions``, the ``pooled`` fund or that of the supplement."""
    funds = {"pooled": fund(region, "account_credits"), "civil_servant": fund(region, "civil_servant_credits")}
    return funds.get(name, CONTRIBUTIONS)


def recoverable(member_id: str) -> str:
    """What a member got too much and has spent."""
    return f"recoverable:{member_id}"


def interest(region: str) -> str:
    """Where interest comes from."""
    return f"interest:{region}"


def closed_accounts(region: str) -> str:
    """Where money goes that comes back to a closed account."""
    return f"closed_accounts:{region}"


def settlement(place: Place, funds: Sequence[int], accounts: Sequence[tuple[str, int]]) -> tuple[Posting, ...]:
    """The postings (none when nobody but the person pays) of a claim or an account use.

    ``funds``: what each of ``FUNDS`` pays; ``accounts``: members whose accounts pay, and how much; fen >= 0.
    """
    insured, care, institution_id = place
    remote = place.remote
    owed = due_to(insured, care) if remote else payable(institution_id)
    postings = [Posting(fund(insured, name), owed, amount) for name, amount in zip(FUNDS, funds, strict=True) if amount]
    postings += [Posting(personal(member_id), owed, amount) for member_id, amount in accounts if amount]
    if remote and postings:
        total = sum(posting.amount for posting in postings)
        postings.append(Posting(due_from(care, insured), payable(institution_id), total))
    return tuple(postings)


def reimbursement(region: str, member_id: str, funds: Sequence[int], accounts: Sequence[Side]) -> tuple[Posting, ...]:
    """The postings of a claim that the person paid first: funds and accounts owe it to him."""
    paying = [(fund(region, name), amount) for name, amount in zip(FUNDS, funds, strict=True)]
    paying += [(personal(who), amount) for who, amount in accounts]
    return transfers(paying, [(member(region, member_id), sum(amount for _, amount in paying))])


def revision(region: str, change: Sums, member_id: str, payer: str) -> tuple[Posting, ...]:
    """The postings of a claim's further revision: who pays more gives to who pays less. None where money stays as it is."""
    parts = [(fund(region, name), more) for name, more in zip(FUNDS, change.funds, strict=True)]
    parts += [(member(region, member_id), change.cash)]
    parts += [(personal(payer), change.family_account), (personal(member_id), change.account)]
    return transfers([(who, more) for who, more in parts if more > 0], [(who, -more) for who, more in parts if more < 0])


def taking_back(place: Place, owed: Sums, stands: Sums, member_id: str, paid: Sequence[Side]) -> tuple[Posting, ...]:
    """The postings of the reversal of a claim that stands as ``stands``, and of which the institution was ``owed`` its first.

    ``paid``: the accounts that get back what they gave. What revisions gave the person, or had from him, is turned round.
    """
    insured, care, institution_id = place
    first = owed.fund_total + owed.account + owed.family_account
    refunded = owed.cash - stands.cash
    giving = [(due_to(insured, care) if place.remote else payable(institution_id), first), (member(insured, member_id), refunded)]
    getting = [(fund(insured, name), amount) for name, amount in zip(FUNDS, stands.funds, strict=True)]
    getting += [(personal(who), amount) for who, amount in paid]
    getting += [(member(insured, member_id), -refunded)]
    postings = transfers(giving, getting)
    if place.remote and first:
        return (*postings, Posting(payable(institution_id), due_from(care, insured), first))
    return postings


def transfers(giving: Sequence[Side], getting: Sequence[Side]) -> tuple[Posting, ...]:
    """Postings from those who give (debited) to those who get (credited), in order; both come to the same. Fen, > 0 each.

    Raises ValueError where the two sides differ.
    """
    givers = [(who, amount) for who, amount in giving if amount > 0]
    postings = []
    for getter, amount in getting:
        left = amount
        while left > 0:
            if not givers:
                raise ValueError("more is got than is given")
            giver, has = givers.pop(0)
            part = min(left, has)
            postings.append(Posting(giver, getter, part))
            left -= part
            if has > part:
                givers.insert(0, (giver, has - part))
    if givers:
        raise ValueError("more is given than is got")
    return tuple(postings)


def clearing(insured: str, care: str, amount: int) -> tuple[Posting, ...]:
    """The postings by which the place of insurance pays what it owes the place of care (fen; below zero: is paid back)."""
    paid = Posting(due_to(insured, care), bank(insured), abs(amount))
    received = Posting(bank(care), due_from(care, insured), abs(amount))
    return (paid, received) if amount > 0 else mirrored((paid, received))


def credit(member_id: str, amount: int) -> tuple[Posting, ...]:
    """The postings of a credit (fen) to a member's account; none for a credit of nothing."""
    return (Posting(CONTRIBUTIONS, personal(member_id), amount),) if amount else ()


def closing(member_id: str, region: str, disposal: str, balance: int) -> tuple[Posting, ...]:
    """The posting that empties an account: ``disposal`` is transferred, paid_out or heirs."""
    return (Posting(personal(member_id), left_to(disposal, region), balance),)


def bringing(member_id: str, along: Sequence[Side]) -> tuple[Posting, ...]:
    """The postings by which what went along from some regions of these books (fen of each) arrives in another."""
    return tuple(Posting(left_to("transferred", left), personal(member_id), amount) for left, amount in along)
