"""A reversal that comes after the closing of an account it would give back to. Pure."""

import msgspec

from services.account import journals
from services.account.ledger import Journal, Posting
from services.account.worklist import Todo


def redirected(journal: Journal, closed: set[str], region: str) -> tuple[Journal, tuple[Todo, ...]]:
    """The reversal's journal without closed accounts: what they would get goes to clearing, and on the work list."""
    names = {journals.personal(member_id): member_id for member_id in closed}
    postings, todo = list(journal.postings), []
    for index, (debit, credit, amount) in enumerate(postings):
        member_id = names.get(credit)
        if member_id is not None:
            postings[index] = Posting(debit, journals.closed_accounts(region), amount)
            todo.append(Todo(index + 1, "late_reversal", region, member_id, amount))
    return (msgspec.structs.replace(journal, postings=tuple(postings)) if todo else journal), tuple(todo)
