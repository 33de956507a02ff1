"""Which journal a decision gives: the chart of accounts and the entries, as tables an accountant can read.

Money owed (to members, institutions, other regions) stands on the credit side; a fund is debited with what it
spends. Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.account.ledger import Posting

FUNDS = ("pooled", "large_expense", "civil_servant", "veterans")


class ChartRow(NamedTuple):
    """An account of the chart: how it is named, the side on which its balance grows, what it is."""

    pattern: str
    side: str
    zh: str
    en: str


CHART = (
    ChartRow("fund:<region>:pooled", "debit", "统筹基金支出", "pooled fund, spent"),
    ChartRow("fund:<region>:large_expense", "debit", "职工大额补助支出", "large-expense supplement, spent"),
    ChartRow("fund:<region>:civil_servant", "debit", "公务员医疗补助支出", "civil-servant supplement, spent"),
    ChartRow("fund:<region>:veterans", "debit", "优抚对象医疗补助支出", "veterans' subsidy, spent"),
    ChartRow("contributions", "debit", "个人账户划入来源", "contributions, source of account credits"),
    ChartRow("fund:<region>:account_credits", "debit", "统筹基金划入个人账户", "pooled fund, credited to accounts"),
    ChartRow("interest:<region>", "debit", "个人账户利息支出", "interest credited to accounts"),
    ChartRow("personal:<member>", "credit", "个人账户", "a member's personal account"),
    ChartRow("recoverable:<member>", "debit", "应收回多划个人账户资金", "credited too much and spent: to be had back"),
    ChartRow("transferred:<region>", "credit", "转出个人账户资金", "balances that went along with their members"),
    ChartRow("paid_out:<region>", "credit", "退付个人账户资金", "balances paid out to members"),
    ChartRow("heirs:<region>", "credit", "继承个人账户资金", "balances paid to heirs and beneficiaries"),
    ChartRow("closed_accounts:<region>", "credit", "已销户待处理款项", "given back to closed accounts: see the work list"),
    ChartRow("payable:<institution>", "credit", "应付医药机构", "owed to an institution"),
    ChartRow("bank:<region>", "credit", "已付医药机构", "paid out to institutions"),
    ChartRow("retention:<region>:<institution>", "credit", "年度考核金", "kept for the year's assessment"),
    ChartRow("adjustment:<region>", "debit", "总额控制差额", "what the budget adds to the cost, or leaves unpaid of it"),
    ChartRow("due_to:<insured>:<care>", "credit", "应付就医地（参保地账）", "owed by the place of insurance"),
    ChartRow("due_from:<care>:<insured>", "debit", "应收参保地（就医地账）", "owed to the place of care"),
)


class EntryRow(NamedTuple):
    """What happens, and the transfers (debit -> credit) it gives."""

    happening: str
    transfers: tuple[str, ...]
    zh: str
    en: str


ENTRIES = (
    EntryRow(
        "claim, account_use",
        ("fund:<region>:* -> payable:<institution>", "personal:* -> payable:<institution>"),
        "参保地就医：基金、个人账户应付医药机构；现金不入账",
        "care at home: funds and accounts owe the institution; cash is not ours to book",
    ),
    EntryRow(
        "claim, account_use in another region",
        (
            "fund:<insured>:* -> due_to:<insured>:<care>",
            "personal:* -> due_to:<insured>:<care>",
            "due_from:<care>:<insured> -> payable:<institution>",
        ),
        "异地就医：参保地应付就医地，就医地应付医药机构",
        "care elsewhere: the place of insurance owes the place of care, which owes the institution",
    ),
    EntryRow("reversal", ("credit -> debit of each",), "撤销：原分录反向", "the same transfers, turned round"),
    EntryRow(
        "payment",
        (
            "payable:<institution> -> bank:<region>",
            "payable:<institution> -> retention:<region>:<institution>",
            "adjustment:<region> -> payable:<institution>, or back",
        ),
        "按月支付医药机构：已付、年度考核金、与发生额之差",
        "an institution's month: what is paid, what is kept, and by how much it differs from the cost",
    ),
    EntryRow(
        "release",
        ("retention:<region>:<institution> -> bank:<region>", "retention:<region>:<institution> -> adjustment:<region>"),
        "年度考核金清算：按考核结果支付，其余留存基金",
        "what was kept of a year: paid by the assessment's result, the rest stays with the fund",
    ),
    EntryRow("credit", ("contributions -> personal:<member>",), "个人账户划入", "a credit to an account"),
    EntryRow(
        "crediting",
        ("contributions -> personal:*", "fund:<region>:account_credits -> personal:*", "interest:<region> -> personal:*"),
        "月划入、补划、利息：一批参保人一张凭证",
        "a month's credits, differences and interest: one journal for many members",
    ),
    EntryRow(
        "crediting, taking back",
        ("personal:* -> contributions", "recoverable:* -> contributions", "and so with the fund's credits"),
        "冲减多划：先冲余额，不足部分列应收回",
        "too much was credited: first from the balance, the rest is to be had back",
    ),
    EntryRow(
        "closing",
        ("personal:<member> -> transferred:<region>, paid_out:<region> or heirs:<region>",),
        "销户：转出、退付或继承",
        "an account is closed: its balance goes along, is paid out, or inherited",
    ),
    EntryRow(
        "reversal, the account being closed",
        ("payable:<institution> -> closed_accounts:<region>",),
        "销户后的撤销：列待处理款项",
        "a reversal that comes after the closing: to clearing and the work list",
    ),
)


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


def settlement(place: Place, funds: Sequence[int], accounts: Sequence[tuple[str, int]]) -> tuple[Posting, ...]:
    """The postings (none when nobody but the person pays) of a claim or an account use.

    ``funds``: what each of ``FUNDS`` pays; ``accounts``: members whose accounts pay, and how much; fen >= 0.
    """
    insured, care, institution_id = place
    payable = f"payable:{institution_id}"
    remote = place.remote
    owed = f"due_to:{insured}:{care}" if remote else payable
    postings = [Posting(f"fund:{insured}:{fund}", owed, amount) for fund, amount in zip(FUNDS, funds, strict=True) if amount]
    postings += [Posting(f"personal:{member_id}", owed, amount) for member_id, amount in accounts if amount]
    if remote and postings:
        total = sum(posting.amount for posting in postings)
        postings.append(Posting(f"due_from:{care}:{insured}", payable, total))
    return tuple(postings)


def credit(member_id: str, amount: int) -> tuple[Posting, ...]:
    """The postings of a credit (fen) to a member's account; none for a credit of nothing."""
    return (Posting("contributions", personal(member_id), amount),) if amount else ()


def source(region: str, name: str) -> str:
    """The account that credits come from: ``contributions``, or the ``pooled`` fund."""
    return f"fund:{region}:account_credits" if name == "pooled" else "contributions"


def recoverable(member_id: str) -> str:
    """What a member got too much and has spent."""
    return f"recoverable:{member_id}"


def interest(region: str) -> str:
    """Where interest comes from."""
    return f"interest:{region}"


def closed_accounts(region: str) -> str:
    """Where money goes that comes back to a closed account."""
    return f"closed_accounts:{region}"


def closing(member_id: str, region: str, disposal: str, balance: int) -> tuple[Posting, ...]:
    """The posting that empties an account: ``disposal`` is transferred, paid_out or heirs."""
    return (Posting(personal(member_id), f"{disposal}:{region}", balance),)
