"""What is booked of a piece of a crediting run (月划入、补划): once a member, region, month and run. Pure.

A monthly run books whole months that have nothing yet; a true-up books differences between what a month comes to now and what
was booked for it. A true-up that takes back never makes a balance negative: what is not on the account any more is booked as
recoverable, and put on the work list. Of an account that is closed by now nothing new is credited; what its months were
credited otherwise than they come to now is owed to its member or his heirs, or by them, and is put there too. Who is insured
anew has an account again, opened by the first month that is credited to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.account import journals
from services.account.commands import MONTHLY, Entry, Piece
from services.account.leaving import Left, Opening
from services.account.ledger import Journal, Posting
from services.account.worklist import Todo
from shared.identity import part_of
from shared.money import PPM, half_up

CreditedKey = tuple[str, str, str, str]  # member, region, month, title
_MONTHS = 12


class Booked(NamedTuple):
    """What a month has in the books: fen in all, by which run last, who paid it, and since which journal."""

    amount: int
    run: int
    source: str
    first: int  # the journal that booked it first


class Credit(NamedTuple):
    """One row: what a run books for a member and month. Fen; ``amount`` below zero takes back.

    ``line``: its first posting in the sheet's journal.
    """

    member_id: str
    month: str
    part: int
    amount: int
    recoverable: int
    interest: int
    basis: int | None
    source: str
    article: str
    line: int
    late: int = 0  # of the amount: not to the account, which is closed
    title: str = ""


class Sheet(NamedTuple):
    """What a piece books: one journal over many accounts."""

    piece: Piece
    journal: Journal
    credits: tuple[Credit, ...]
    todo: tuple[Todo, ...]
    opened: tuple[Opening, ...] = ()  # accounts opened anew by it


@dataclass(slots=True)
class CreditingFacts:
    """What a batch of pieces is decided on; brought up to date as it is decided."""

    booked: dict[CreditedKey, Booked]
    balances: dict[str, int]
    left: dict[str, Left]
    journal_ids: Iterator[int]


@dataclass(slots=True)
class _Draft:
    postings: list[Posting] = field(default_factory=list)
    credits: list[Credit] = field(default_factory=list)
    todo: list[Todo] = field(default_factory=list)
    opened: list[Opening] = field(default_factory=list)


def keys_of(piece: Piece) -> Iterator[CreditedKey]:
    """The months a piece is about."""
    return ((entry.member_id, piece.region, entry.month, entry.title) for entry in piece.entries)


def book(piece: Piece, facts: CreditingFacts) -> Sheet | None:
    """Decides a piece. None: all of it is booked already, or there is nothing to book."""
    draft = _Draft()
    number = next(facts.journal_ids)
    for entry in piece.entries:
        decide = _correct if _had_by_closed(piece, entry, facts) else _credit
        decide(piece, entry, number, facts, draft)
    if not draft.credits:
        return None
    first = draft.credits[0]
    named = f"{piece.run}/{first.month}/{first.member_id}"  # nobody else's: a run credits a member's month once
    journal = Journal(
        journal_id=number,
        issuer=piece.region,
        number=f"{named}/{first.title}" if first.title else named,
        kind="crediting",
        revision=0,
        part=first.part,
        postings=tuple(draft.postings),
    )
    return Sheet(piece, journal, tuple(draft.credits), tuple(draft.todo), tuple(draft.opened))


def _had_by_closed(piece: Piece, entry: Entry, facts: CreditingFacts) -> bool:
    """Whether a month is one of the account that was closed: from before its member came back, or credited before."""
    left = facts.left.get(entry.member_id)
    if left is None:
        return False
    before = facts.booked.get((entry.member_id, piece.region, entry.month, entry.title))
    return not entry.back or (before is not None and before.first < left.number)


def interest_of(balance: int, ppm: int) -> int:
    """A month's interest (fen, half up) on a balance (fen), at so much a year."""
    return half_up(balance * ppm, _MONTHS * PPM) if ppm and balance else 0


def interest_since(difference: int, ppm: int) -> int:
    """What a difference (fen) bears for the months since, whose yearly rates add up to so much; taken back, below zero."""
    interest = interest_of(abs(difference), ppm)
    return interest if difference > 0 else -interest


def _credit(piece: Piece, entry: Entry, number: int, facts: CreditingFacts, draft: _Draft) -> None:
    rule = piece.rules[entry.rule]
    key = (entry.member_id, piece.region, entry.month, entry.title)
    before = facts.booked.get(key)
    if before is not None and (piece.kind == MONTHLY or before.run >= piece.run):
        return
    booked = before.amount if before else 0
    difference = entry.due - booked
    balance = facts.balances.get(entry.member_id, 0)
    interest = interest_of(balance, 0 if entry.title else piece.interest_ppm) + interest_since(difference, entry.since_ppm)
    if not difference and not interest:
        return
    _open(piece.region, entry.member_id, facts, draft)
    line = len(draft.postings) + 1
    give, take = max(difference, 0), max(-difference, 0)
    from_: str = rule.source
    if before is not None and before.source != rule.source and booked:  # another pays the month now: each gets its own back
        give, take, from_ = entry.due, booked, before.source
    if give:
        draft.postings.append(Posting(journals.source(piece.region, rule.source), journals.personal(entry.member_id), give))
    recoverable = max(take - balance - give, 0)
    _take_back(piece.region, entry.member_id, journals.source(piece.region, from_), (take - recoverable, recoverable), draft)
    if interest > 0:
        draft.postings.append(Posting(journals.interest(piece.region), journals.personal(entry.member_id), interest))
    elif interest < 0:
        spent = max(-interest - (balance + difference + recoverable), 0)
        _take_back(piece.region, entry.member_id, journals.interest(piece.region), (-interest - spent, spent), draft)
        recoverable += spent
    part = part_of(entry.member_id)
    who = (entry.member_id, entry.month, part)
    draft.credits.append(
        Credit(*who, difference, recoverable, interest, entry.basis, rule.source, rule.article, line, title=entry.title)
    )
    facts.balances[entry.member_id] = balance + difference + recoverable + interest
    facts.booked[key] = Booked(entry.due, piece.run, rule.source, before.first if before else number)


def _open(region: str, member_id: str, facts: CreditingFacts, draft: _Draft) -> None:
    """A closed account whose member is insured anew: he has one again."""
    left = facts.left.get(member_id)
    if left is not None and left.closed:
        facts.left[member_id] = left._replace(closed=False)
        draft.opened.append(Opening(member_id, part_of(member_id), region))


def _correct(piece: Piece, entry: Entry, _number: int, facts: CreditingFacts, draft: _Draft) -> None:
    """A month that was credited before the account was closed: a true-up's difference, outside the account."""
    rule = piece.rules[entry.rule]
    key = (entry.member_id, piece.region, entry.month, entry.title)
    before = facts.booked.get(key)
    if piece.kind == MONTHLY or before is None or before.run >= piece.run or entry.due == before.amount:
        return
    line = len(draft.postings) + 1
    late, recoverable = max(entry.due - before.amount, 0), max(before.amount - entry.due, 0)
    source, paid = journals.source(piece.region, rule.source), journals.source(piece.region, before.source)
    if source != paid and (moved := min(entry.due, before.amount)):  # another pays the month now
        draft.postings.append(Posting(source, paid, moved))
    interest = interest_since(entry.due - before.amount, entry.since_ppm)
    for giver, more in ((source, late), (journals.interest(piece.region), max(interest, 0))):
        if more:
            draft.postings.append(Posting(giver, journals.closed_accounts(piece.region), more))
            draft.todo.append(Todo(len(draft.postings), "late_credit", piece.region, entry.member_id, more))
    for getter, less in ((paid, recoverable), (journals.interest(piece.region), max(-interest, 0))):
        _take_back(piece.region, entry.member_id, getter, (0, less), draft)
    who = (entry.member_id, entry.month, part_of(entry.member_id))
    amounts = (entry.due - before.amount, recoverable + max(-interest, 0), interest)
    late += max(interest, 0)
    draft.credits.append(Credit(*who, *amounts, entry.basis, rule.source, rule.article, line, late, entry.title))
    facts.booked[key] = Booked(entry.due, piece.run, rule.source, before.first)


def _take_back(region: str, member_id: str, to: str, amounts: tuple[int, int], draft: _Draft) -> None:
    """What the balance still has, and what it has not."""
    taken, recoverable = amounts
    if taken:
        draft.postings.append(Posting(journals.personal(member_id), to, taken))
    if recoverable:
        draft.postings.append(Posting(journals.recoverable(member_id), to, recoverable))
        draft.todo.append(Todo(len(draft.postings), "overcredited", region, member_id, recoverable))
