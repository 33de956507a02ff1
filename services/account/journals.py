"""Which journal a decision gives: the chart of accounts and the entries, as tables an accountant can read.

Money owed (to members, institutions, other regions) stands on the credit side; a fund is debited with what it
spends. Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.account.ledger import Posting
from services.account.sums import Sums

MEMBER = "member"  # who gets the money, where it is not the institution
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
    ChartRow(
        "fund:<region>:civil_servant_credits",
        "debit",
        "公务员医疗补助划入个人账户",
        "civil-servant supplement, credited to accounts",
    ),
    ChartRow("interest:<region>", "debit", "个人账户利息支出", "interest credited to accounts"),
    ChartRow("personal:<member>", "credit", "个人账户", "a member's personal account"),
    ChartRow("recoverable:<member>", "debit", "应收回多划个人账户资金", "credited too much and spent: to be had back"),
    ChartRow("member:<region>:<member>", "credit", "参保人往来（应付；负数为应收）", "owed to a member (below zero: by him)"),
    ChartRow("transferred:<region>", "credit", "转出个人账户资金", "balances that went along with their members"),
    ChartRow("paid_out:<region>", "credit", "退付个人账户资金", "balances paid out to members"),
    ChartRow("heirs:<region>", "credit", "继承个人账户资金", "balances paid to heirs and beneficiaries"),
    ChartRow("closed_accounts:<region>", "credit", "已销户待处理款项", "given back to closed accounts: see the work list"),
    ChartRow("payable:<institution>", "credit", "应付医药机构", "owed to an institution"),
    ChartRow("bank:<region>", "credit", "银行已付（医药机构、参保人）", "paid out to institutions and members"),
    ChartRow("retention:<region>:<institution>", "credit", "年度考核金", "kept for the year's assessment"),
    ChartRow("adjustment:<region>", "debit", "总额控制差额", "what the budget adds to the cost, or leaves unpaid of it"),
    ChartRow("due_to:<insured>:<care>", "credit", "应付就医地（参保地账）", "owed by the place of insurance"),
    ChartRow("due_from:<care>:<insured>", "debit", "应收参保地（就医地账）", "owed to the place of care"),
)


Side = tuple[str, int]  # an account, or whose; fen


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
    EntryRow(
        "claim, reimbursed by hand",
        ("fund:<region>:* -> member:<region>:<member>", "personal:* -> member:<region>:<member>"),
        "手工报销：费用已由参保人垫付，基金、个人账户应付参保人，异地亦同",
        "the person paid the institution, so funds and accounts owe the person, wherever it was",
    ),
    EntryRow(
        "claim, a further revision",
        (
            "fund:<region>:* -> member:<region>:<member>, personal:* or another fund:<region>:*",
            "member:<region>:<member> -> fund:<region>:*",
        ),
        "重新核算：只记差额；多付的还给出钱人（先现金，后家庭账户、本人账户），少付的由参保人退还；医药机构不受影响",
        "worked out again: the difference alone, between funds and person; the institution had its money",
    ),
    EntryRow(
        "settling",
        (
            "member:<region>:<member> -> bank:<region>, or back",
            "closed_accounts:<region> -> paid_out:<region>, heirs:<region> or transferred:<region>",
            "bank:<region> -> recoverable:<member>",
        ),
        "往来与待处理款项结清",
        "what is owed to or by a member, and what is on the work list, is settled",
    ),
    EntryRow(
        "reversal",
        ("credit -> debit of each", "payable:<institution> and member:<region>:<member> -> funds and accounts, after revisions"),
        "撤销：原分录反向；经重新核算的，按最后结果退回",
        "the same transfers, turned round; after a revision, as it stood last",
    ),
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
        (
            "contributions -> personal:*",
            "fund:<region>:account_credits or civil_servant_credits -> personal:*",
            "interest:<region> -> personal:*",
        ),
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
        "crediting, the account being closed",
        (
            "contributions -> closed_accounts:<region>",
            "recoverable:* -> contributions",
            "and so with the fund's credits, and between the two",
        ),
        "销户后的补划、冲减：列待处理款项或应收回",
        "a true-up that comes after the closing: to clearing, or to be had back, and the work list",
    ),
    EntryRow(
        "closing",
        ("personal:<member> -> transferred:<region>, paid_out:<region> or heirs:<region>",),
        "销户：转出、退付或继承",
        "an account is closed: its balance goes along, is paid out, or inherited",
    ),
    EntryRow(
        "opening",
        ("transferred:<region> -> personal:<member>",),
        "重新开户：随同转移的余额转入",
        "who is insured anew in another region of these books: the balance that went along arrives",
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


def member(region: str, member_id: str) -> str:
    """What a region owes a member outside his account; below zero, what he owes it."""
    return f"member:{region}:{member_id}"


def reimbursement(region: str, member_id: str, funds: Sequence[int], accounts: Sequence[Side]) -> tuple[Posting, ...]:
    """The postings of a claim that the person paid first: funds and accounts owe it to him."""
    paying = [(f"fund:{region}:{fund}", amount) for fund, amount in zip(FUNDS, funds, strict=True)]
    paying += [(personal(who), amount) for who, amount in accounts]
    return transfers(paying, [(member(region, member_id), sum(amount for _, amount in paying))])


def revision(region: str, change: Sums, member_id: str, payer: str) -> tuple[Posting, ...]:
    """The postings of a claim's further revision: who pays more gives to who pays less. None where money stays as it is."""
    parts = [(f"fund:{region}:{fund}", more) for fund, more in zip(FUNDS, change.funds, strict=True)]
    parts += [(member(region, member_id), change.cash)]
    parts += [(personal(payer), change.family_account), (personal(member_id), change.account)]
    return transfers([(who, more) for who, more in parts if more > 0], [(who, -more) for who, more in parts if more < 0])


def taking_back(place: Place, owed: Sums, stands: Sums, member_id: str, paid: Sequence[Side]) -> tuple[Posting, ...]:
    """The postings of the reversal of a claim that stands as ``stands``, and of which the institution was ``owed`` its first.

    ``paid``: the accounts that get back what they gave. What revisions gave the person, or had from him, is turned round.
    """
    insured, care, institution_id = place
    payable = f"payable:{institution_id}"
    first = owed.fund_total + owed.account + owed.family_account
    refunded = owed.cash - stands.cash
    giving = [(f"due_to:{insured}:{care}" if place.remote else payable, first), (member(insured, member_id), refunded)]
    getting = [(f"fund:{insured}:{fund}", amount) for fund, amount in zip(FUNDS, stands.funds, strict=True)]
    getting += [(personal(who), amount) for who, amount in paid]
    getting += [(member(insured, member_id), -refunded)]
    postings = transfers(giving, getting)
    return (*postings, Posting(payable, f"due_from:{care}:{insured}", first)) if place.remote and first else postings


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


def credit(member_id: str, amount: int) -> tuple[Posting, ...]:
    """The postings of a credit (fen) to a member's account; none for a credit of nothing."""
    return (Posting("contributions", personal(member_id), amount),) if amount else ()


def source(region: str, name: str) -> str:
    """The account that credits come from: ``contributions``, the ``pooled`` fund or that of the supplement."""
    funds = {"pooled": f"fund:{region}:account_credits", "civil_servant": f"fund:{region}:civil_servant_credits"}
    return funds.get(name, "contributions")


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


def bringing(member_id: str, left: str, balance: int) -> tuple[Posting, ...]:
    """The posting by which a balance that went along from one region of these books arrives in another."""
    return (Posting(f"transferred:{left}", personal(member_id), balance),)
