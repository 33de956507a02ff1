"""The chart of accounts and the entries, as tables an accountant can read (``gongji ledger chart``). Pure."""

from typing import NamedTuple


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
    ChartRow(
        "bank:<region>",
        "credit",
        "银行已付（医药机构、参保人、其他地区），收到的冲减",
        "paid out to institutions, members and other regions, less what was received",
    ),
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
    EntryRow(
        "repayment",
        ("bank:<region> -> payable:<institution>",),
        "医药机构退还多付款项（撤销超过结算的部分）",
        "an institution pays back what its reversals take, above its claims, from months that were paid",
    ),
    EntryRow(
        "clearing",
        (
            "due_to:<insured>:<care> -> bank:<insured>, or back",
            "bank:<care> -> due_from:<care>:<insured>, or back",
        ),
        "清算拨付：参保地付就医地（多退时反向），一个清算周期的每对地区一张凭证",
        "a window is paid: the place of insurance pays the place of care (is paid back, where reversals exceed claims)",
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
        "重新开户：随同转移的余额（含迟到款项）转入",
        "who is insured anew in another region of these books: what went along arrives, also what came late",
    ),
    EntryRow(
        "reversal, the account being closed",
        ("payable:<institution> -> closed_accounts:<region>",),
        "销户后的撤销：列待处理款项",
        "a reversal that comes after the closing: to clearing and the work list",
    ),
)
