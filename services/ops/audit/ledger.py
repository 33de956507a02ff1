"""I1, I2 and I13 on the tables: money is conserved, amounts add up, and what is taken back leaves nothing."""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import Check, Query, family, key_of

_O = key_of("o")
_AMOUNTS = (
    *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible"),
    *("pooled", "large_expense", "civil_servant", "veterans", "account", "family_account", "cash"),
)
_FUNDS = ("pooled", "large_expense", "civil_servant", "veterans")
_REMOTE = "(o.insured_region <> '' and o.care_region <> '' and o.insured_region <> o.care_region)"
_PAID = "(o.pooled + o.large_expense + o.civil_servant + o.veterans + o.account + o.family_account)"


def _net(name: str, account: str, *, grows: str) -> str:
    """SQL: what the postings of a journal put on an account, counted on the side on which it grows."""
    other = "credit" if grows == "debit" else "debit"
    return (
        f"coalesce(sum(case when p.{grows} = {account} then p.amount when p.{other} = {account} then -p.amount end), 0) as {name}"
    )


# What one posting to the institution can be of an outcome: the account it comes from, the amount.
_PLAIN = (
    *((f"'fund:' || o.insured_region || ':{fund}'", f"o.{fund}") for fund in _FUNDS),
    ("'personal:' || o.member_id", "o.account"),
    ("'personal:' || o.family_payer", "o.family_account"),
)
_WHICH = " ".join(
    f"when {account} then case when p.amount = {amount} then {1 << n} end" for n, (account, amount) in enumerate(_PLAIN)
)
_ALL = " + ".join(f"{1 << n} * ({amount} <> 0)::int" for n, (_, amount) in enumerate(_PLAIN))
# Most outcomes at home have one such posting for each amount that is not nothing, and no other: of these nothing needs a sum.
# Grouped by the whole key, so that the outcome's other columns need no join back to it.
_NOT_PLAIN = f"""
    select o.institution_id, o.claim_no, o.kind, o.revision, o.member_id, o.insured_region, o.care_region, o.payee,
        o.family_payer, o.journal_id, {", ".join(f"o.{name}" for name in _FUNDS)}, o.account, o.family_account
    from account.outcome o left join account.posting p using (journal_id)
    where o.kind <> 'answer' and (o.journal_id is not null or {_PAID} <> 0)
    group by o.institution_id, o.claim_no, o.kind, o.revision
    having o.kind = 'reversal' or o.payee <> '' or o.family_payer = o.member_id or {_REMOTE}
        or count(p.journal_id) <> {" + ".join(f"({amount} <> 0)::int" for _, amount in _PLAIN)}
        or coalesce(bit_or(case when p.amount > 0 and p.credit = 'payable:' || o.institution_id then
            case p.debit {_WHICH} end end), 0) <> {_ALL}
"""
_BOOKED = f"""
    select o.*, s.* from ({_NOT_PLAIN}) as o cross join lateral (
        select {", ".join(_net(f"booked_{fund}", f"'fund:' || o.insured_region || ':{fund}'", grows="debit") for fund in _FUNDS)},
            {_net("personal", "'personal:' || o.member_id", grows="debit")},
            {_net("family", "'personal:' || nullif(o.family_payer, '')", grows="debit")},
            {_net("payable", "'payable:' || o.institution_id", grows="credit")},
            {_net("member", "'member:' || o.insured_region || ':' || o.member_id", grows="credit")},
            {_net("late", "'closed_accounts:' || o.insured_region", grows="debit")},
            {_net("due_to", "'due_to:' || o.insured_region || ':' || o.care_region", grows="credit")},
            {_net("due_from", "'due_from:' || o.care_region || ':' || o.insured_region", grows="debit")},
            coalesce(sum(p.amount), 0) as gross
        from account.posting p where p.journal_id = o.journal_id) as s
"""

_OUTCOMES_BOOKED = Query(
    Check(
        "I1",
        "outcome_equals_postings",
        "每笔结算的基金、个人账户与应付款等于其分录",
        "what each outcome says funds, accounts and institution get is what was posted",
        ("account.outcome", "account.posting"),
    ),
    f"""
    select {_O} as key, 'the outcome says ' || {_PAID} || ' fen, its postings ' || o.gross || ' in all' as what
    from ({_BOOKED}) as o
    where (o.pooled, o.large_expense, o.civil_servant, o.veterans, {_PAID}) is distinct from
            ({", ".join(f"o.booked_{fund}" for fund in _FUNDS)}, o.payable + o.member)
        or o.account + o.family_account <> o.personal + o.family + o.late
        or (o.late = 0 and o.account <> o.personal)
        or (o.late <> 0 and o.kind <> 'reversal' and o.revision = 0) -- what comes back to a closed account goes to clearing
        -- The person gets the money of a reimbursement and of a revision, the institution that of all else. A reversal
        -- takes both back.
        or case when o.payee = 'member' then o.payable else o.member * (o.kind <> 'reversal')::int end <> 0
        or (o.payee = '' and o.member = 0 and o.gross <> abs({_PAID}) * case when {_REMOTE} then 2 else 1 end)
        or ({_REMOTE} and (o.due_to, o.due_from) is distinct from (o.payable, o.payable))
    """,
)

_CREDITS_BOOKED = Query(
    Check(
        "I1",
        "credit_equals_postings",
        "每笔划入等于其分录",
        "each credit to an account is what was posted",
        ("account.credit", "account.posting"),
    ),
    """
    select c.member_id || '/' || c.credit_no as key,
        'the credit is ' || c.amount || ' fen, its postings ' || coalesce(sum(p.amount), 0) as what
    from account.credit c left join account.posting p
        on p.journal_id = c.journal_id and p.debit = 'contributions' and p.credit = 'personal:' || c.member_id
    group by c.member_id, c.credit_no, c.amount
    having c.amount <> coalesce(sum(p.amount), 0)
    """,
)

_JOURNALS_OWNED = Query(
    Check(
        "I1",
        "every_journal_has_its_reason",
        "每张凭证有其结算或划入",
        "every journal belongs to an outcome or a credit, every posting to a journal",
        ("account.journal", "account.posting", "account.outcome", "account.credit"),
    ),
    """
    select j.issuer || '/' || j.number || ' ' || j.kind as key, 'journal ' || j.journal_id || ' belongs to nothing' as what
    from account.journal j
    left join account.outcome o on j.kind <> 'credit' and o.journal_id = j.journal_id
        and (o.institution_id, o.claim_no, o.kind, o.revision) = (j.issuer, j.number, j.kind, j.revision)
    left join account.credit c on j.kind = 'credit' and c.journal_id = j.journal_id
        and (c.member_id, c.credit_no) = (j.issuer, j.number)
    where j.kind in ('claim', 'reversal', 'account_use', 'credit') and o.journal_id is null and c.journal_id is null
    union all
    select 'journal ' || p.journal_id || ' line ' || p.line, 'a posting without a journal'
    from account.posting p left join account.journal j using (journal_id) where j.journal_id is null
    """,
)

_POSTINGS = Query(
    Check(
        "I1",
        "postings_are_transfers",
        "每条分录在两个账户之间转移正数金额",
        "every posting moves a positive amount between two accounts",
        ("account.posting",),
    ),
    """
    select 'journal ' || journal_id || ' line ' || line as key, debit || ' -> ' || credit || ': ' || amount as what
    from account.posting where amount <= 0 or debit = credit or debit = '' or credit = ''
    """,
)

_BALANCES = Query(
    Check(
        "I1",
        "balances_rebuilt",
        "个人账户余额等于其分录之和",
        "each personal account's balance, rebuilt from the postings, is the one kept",
        ("account.balance", "account.posting"),
    ),
    """
    with moved as (
        select account, sum(amount) as amount from (
            select credit as account, amount from account.posting where credit like 'personal:%'
            union all select debit, -amount from account.posting where debit like 'personal:%'
        ) as sides group by account
    )
    select coalesce(substr(m.account, 10), b.member_id) as key,
        'the balance is ' || coalesce(b.balance, 0) || ' fen, the postings come to ' || coalesce(m.amount, 0) as what
    from moved m full join account.balance b on m.account = 'personal:' || b.member_id
    where coalesce(m.amount, 0) <> coalesce(b.balance, 0)
    """,
)

_ADDS_UP = Query(
    Check(
        "I2",
        "outcome_adds_up",
        "结算金额勾稽",
        "total = its parts = what all payers pay; no part below zero (a reversal's: above); who of the family pays has a part",
        ("account.outcome",),
    ),
    f"""
    select {_O} as key, o.outcome || ', total ' || o.total || ' fen' as what
    from account.outcome o
    where o.total <> o.own_paid + o.over_limit + o.pre_self_pay + o.in_scope
        or o.total <> o.pooled + o.large_expense + o.civil_servant + o.veterans + o.account + o.family_account + o.cash
        or o.fund_total <> o.pooled + o.large_expense + o.civil_servant + o.veterans
        or (o.family_payer = '') <> (o.family_account = 0)
        or case case when o.revision > 0 then 'revised' else o.outcome end
            when 'revised' then o.total <> 0 -- differences: who pays changes, what it cost does not
            when 'settled' then least({", ".join(f"o.{name}" for name in _AMOUNTS)}) < 0
            when 'reversed' then greatest({", ".join(f"o.{name}" for name in _AMOUNTS)}) > 0
            else o.total <> 0
        end
    """,
)

_REVERSED = Query(
    Check(
        "I13",
        "reversal_is_the_negative",
        "撤销与原结算相抵为零",
        "a claim and its reversal add up to nothing, amount by amount",
        ("account.outcome",),
    ),
    f"""
    select {_O} as key, case when c.kind is null then 'nothing was settled that it could reverse'
        else 'takes back ' || o.total || ' of ' || c.total || ' fen' end as what
    from account.outcome o left join lateral (
        select max(c.kind) as kind, {", ".join(f"sum(c.{name})::bigint as {name}" for name in _AMOUNTS)} from account.outcome c
        where (c.institution_id, c.claim_no) = (o.institution_id, o.claim_no) and c.kind in ('claim', 'account_use')
    ) as c on true
    where o.kind = 'reversal' and o.outcome = 'reversed'
        and ({", ".join(f"-o.{name}" for name in _AMOUNTS)}) is distinct from ({", ".join(f"c.{name}" for name in _AMOUNTS)})
    """,
)

_MIRRORED = Query(
    Check(
        "I13",
        "correction_cancels_its_journal",
        "撤销凭证与原凭证（含各次修订）相抵为零",
        "a reversal's journal leaves nothing of the claim's, revisions included, account by account",
        ("account.journal", "account.posting"),
    ),
    """
    with sides as (
        select r.journal_id, r.issuer, r.number, r.kind, p.journal_id as of_journal, s.account, s.amount
        from account.journal r
        join account.journal j on (j.issuer, j.number) = (r.issuer, r.number)
            and j.kind in ('claim', 'account_use', 'reversal')
        join account.posting p on p.journal_id = j.journal_id
        cross join lateral (values (p.debit, p.amount), (p.credit, -p.amount)) as s (account, amount)
        where r.kind = 'reversal'
    ), one as (
        -- What a closed account does not take back stands for that account, whichever of the payers' it is.
        select *, case when account like 'closed_accounts:%' then 'accounts'
            when account like 'personal:%' and bool_or(account like 'closed_accounts:%') over (partition by journal_id)
                then 'accounts' else account end as whose
        from sides
    )
    select issuer || '/' || number || ' ' || kind as key,
        'journal ' || journal_id || ' and those it takes back leave ' || sum(amount) || ' fen on ' || whose as what
    from one group by issuer, number, kind, journal_id, whose having sum(amount) <> 0
    """,
)

_CORRECTS = Query(
    Check(
        "I13",
        "reversal_corrects_the_claims_journal",
        "修订、撤销凭证指向前一凭证",
        "the journal of a reversal or a revision corrects the claim's last journal before it",
        ("account.outcome", "account.journal"),
    ),
    f"""
    select {_O} as key, 'its journal corrects ' || coalesce(j.corrects::text, 'nothing') || ', the claim has journal '
        || coalesce(c.journal_id::text, 'none') as what
    from account.outcome o
    cross join lateral (
        select max(c.journal_id) as journal_id from account.outcome c
        where (c.institution_id, c.claim_no) = (o.institution_id, o.claim_no) and c.kind in ('claim', 'account_use')
            and (o.kind = 'reversal' or c.revision < o.revision)
    ) as c
    left join account.journal j on j.journal_id = o.journal_id
    where (o.kind = 'reversal' and o.outcome = 'reversed' or o.kind = 'claim' and o.revision > 0 and o.journal_id is not null)
        and j.corrects is distinct from c.journal_id
    """,
)

LEDGER = family(
    _OUTCOMES_BOOKED,
    _CREDITS_BOOKED,
    _JOURNALS_OWNED,
    _POSTINGS,
    _BALANCES,
    _ADDS_UP,
    _REVERSED,
    _MIRRORED,
    _CORRECTS,
)
