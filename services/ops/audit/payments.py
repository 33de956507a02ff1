"""I1, I4, I19 on payments of and by institutions: each is its items and its postings, once, and somebody's command."""

from services.ops.audit.check import Check, Query, family

_BOOKED = Query(
    Check(
        "I1",
        "payment_equals_postings",
        "每笔机构支付等于其分录",
        "what each institution was paid, what was kept and what was set off is what was posted",
        ("account.payment", "account.posting"),
    ),
    """
    select p.region || '/' || p.month || ' ' || p.institution_id as key,
        'the payment says ' || (p.paid + p.other) || ' fen paid and ' || p.retained || ' kept, the postings ' || s.bank || ' and '
            || s.kept as what
    from account.payment p
    left join account.journal j on j.journal_id = p.journal_id
    cross join lateral (
        select coalesce(sum(case 'payable:' || p.institution_id
                when debit then amount when credit then -amount end), 0) as payable,
            coalesce(sum(case 'bank:' || p.region when credit then amount when debit then -amount end), 0) as bank,
            coalesce(sum(case 'retention:' || p.region || ':' || p.institution_id
                when credit then amount when debit then -amount end), 0) as kept,
            coalesce(sum(case 'adjustment:' || p.region when debit then amount when credit then -amount end), 0) as adjusted
        from account.posting where journal_id = p.journal_id
    ) as s
    where (s.payable, s.bank, s.kept, s.adjusted)
            is distinct from (p.incurred + p.other, p.paid + p.other, p.retained, p.due - p.incurred)
        or (j.kind, j.issuer, j.number)
            is distinct from (case when p.journal_id is not null then 'payment' end, case when p.journal_id is not null
                then p.institution_id end, case when p.journal_id is not null then p.region || '/' || p.month end)
    """,
)

_ITEMS = Query(
    Check(
        "I4",
        "payment_is_its_items",
        "每笔机构支付等于其结算之和，每笔结算只付一次",
        "what an institution incurred in a month is the sum of its outcomes, and no outcome is paid more than it says",
        ("account.payment", "account.payment_item", "account.outcome"),
    ),
    """
    with summed as (
        select region, month, institution_id, coalesce(sum(amount) filter (where share = 'fund'), 0) as fund,
            coalesce(sum(amount) filter (where share = 'other'), 0) as other
        from account.payment_item where repaid is null group by 1, 2, 3
    )
    select region || '/' || month || ' ' || institution_id as key,
        'paid for ' || coalesce(p.incurred, 0) || ' and ' || coalesce(p.other, 0) || ' fen, its items come to '
            || coalesce(s.fund, 0) || ' and ' || coalesce(s.other, 0) as what
    from account.payment p full join summed s using (region, month, institution_id)
    where (coalesce(p.incurred, 0), coalesce(p.other, 0)) <> (coalesce(s.fund, 0), coalesce(s.other, 0))
    union all
    select i.institution_id || '/' || i.claim_no || ' ' || i.kind,
        'paid ' || sum(i.amount) || ' fen of ' || coalesce(max(o.amount)::text, 'nothing')
    from account.payment_item i left join lateral (
        -- A reversal takes back what the institution had, which is the first outcome's, whatever revisions changed since.
        select case o.kind when 'reversal' then -1 else 1 end * (f.fund_total + f.account + f.family_account) as amount
        from account.outcome o join account.outcome f using (institution_id, claim_no)
        where (o.institution_id, o.claim_no, o.kind, o.revision) = (i.institution_id, i.claim_no, i.kind, i.revision)
            and o.payee = '' and f.revision = 0 and f.kind in ('claim', 'account_use')
    ) as o on true
    group by i.institution_id, i.claim_no, i.kind, i.revision
    having max(o.amount) is null or abs(sum(i.amount)) > abs(max(o.amount))
        or (count(*) = 2 and sum(i.amount) <> max(o.amount))
    """,
)

_RELEASED = Query(
    Check(
        "I1",
        "release_equals_retention",
        "年度考核金清算等于留存之和及其分录",
        "what is released of a year, and what stays with the fund, is what was kept of its months, and what was posted",
        ("account.retention_release", "account.payment", "account.posting"),
    ),
    """
    select r.region || '/' || r.year || ' ' || r.institution_id as key,
        'released ' || r.released || ' of ' || r.retained || ' fen by ' || r.result || ' %; ' || k.kept || ' were kept, '
            || s.bank || ' posted' as what
    from account.retention_release r
    cross join lateral (
        select coalesce(sum(retained), 0) as kept from account.payment p
        where p.region = r.region and p.institution_id = r.institution_id and left(p.month, 4) = r.year::text
    ) as k
    cross join lateral (
        select coalesce(sum(amount) filter (where credit = 'bank:' || r.region), 0) as bank,
            coalesce(sum(amount) filter (where credit = 'adjustment:' || r.region), 0) as lost,
            coalesce(sum(amount) filter (where debit = 'retention:' || r.region || ':' || r.institution_id), 0) as gone
        from account.posting where journal_id = r.journal_id
    ) as s
    where (k.kept, s.bank, s.lost, s.gone) is distinct from (r.retained::numeric, r.released, r.forfeited, r.retained)
        or r.released <> round(r.retained * r.result / 100) -- to the fen, half up
    """,
)

_REPAID = Query(
    Check(
        "I1",
        "repayment_equals_postings",
        "每笔机构退款等于其分录",
        "what an institution paid back is one posting, from the region's bank to what it owed",
        ("account.repayment", "account.posting"),
    ),
    """
    select r.region || '/' || r.month || ' ' || r.institution_id as key,
        'repaid ' || r.amount || ' fen, posted '
            || coalesce(max(p.debit || ' -> ' || p.credit || ': ' || p.amount), 'nothing') as what
    from account.repayment r left join account.journal j using (journal_id) left join account.posting p using (journal_id)
    group by r.region, r.month, r.institution_id, r.amount, j.kind, j.issuer, j.number
    having count(p.line) <> 1 or (j.kind, j.issuer, j.number)
            is distinct from ('repayment', r.institution_id, r.region || '/' || r.month)
        or not bool_and((p.debit, p.credit, p.amount)
            = ('bank:' || r.region, 'payable:' || r.institution_id, r.amount))
    """,
)

_REPAID_ITEMS = Query(
    Check(
        "I4",
        "repayment_is_its_items",
        "每笔机构退款等于其撤销之和",
        "what an institution paid back is the sum of the outcomes that waited, which no month's payment takes besides",
        ("account.repayment", "account.payment_item"),
    ),
    """
    with summed as (
        select region, month, institution_id, repaid as journal_id, -sum(amount) as amount
        from account.payment_item where repaid is not null group by 1, 2, 3, 4
    )
    select region || '/' || month || ' ' || institution_id as key,
        'repaid ' || coalesce(r.amount, 0) || ' fen, its items come to ' || coalesce(s.amount, 0) as what
    from account.repayment r full join summed s using (region, month, institution_id, journal_id)
    where r.amount is distinct from s.amount
    """,
)

_OWNED = Query(
    Check(
        "I1",
        "every_payment_journal_has_its_payment",
        "每张支付凭证有其支付",
        "every journal of a payment, a release or a repayment belongs to its row",
        ("account.journal", "account.payment", "account.retention_release", "account.repayment"),
    ),
    """
    select j.issuer || '/' || j.number || ' ' || j.kind as key, 'journal ' || j.journal_id || ' belongs to nothing' as what
    from account.journal j
    where (j.kind = 'payment' and not exists (select from account.payment p where p.journal_id = j.journal_id))
        or (j.kind = 'release' and not exists (select from account.retention_release r where r.journal_id = j.journal_id))
        or (j.kind = 'repayment' and not exists (select from account.repayment r where r.journal_id = j.journal_id))
    """,
)

_COMMANDED = Query(
    Check(
        "I19",
        "payments_are_commanded",
        "每次支付有操作记录",
        "every month that was paid, year that was released and sum that was repaid is in the log, with who and why, what was left"
        " to wait and by which results",
        ("account.payment_run", "account.retention_release", "account.repayment", "runtime.command_log"),
    ),
    """
    select 'fund pay ' || r.region || '/' || r.month as key, 'no command says so' as what
    from account.payment_run r where r.who = '' or r.reason = '' or not exists (
        select from runtime.command_log c where c.command = 'fund pay' and c.after->>'region' = r.region
            and c.after->>'month' = r.month and c.who = r.who and c.reason = r.reason)
    union all
    select 'fund pay ' || r.region || '/' || r.month, 'was paid ' || r.rule || ', its grounds say '
        || coalesce(r.grounds->>'rule', 'nothing')
    from account.payment_run r where r.rule is distinct from r.grounds->>'rule'
    union all
    select distinct 'fund pay ' || p.region || '/' || p.month, 'was paid by no run'
    from account.payment p left join account.payment_run r using (region, month) where r.region is null
    union all
    select 'fund pay ' || region || '/' || month || ' ' || institution_id,
        coalesce(p.carried, 0) || ' fen wait, by the command ' || coalesce(s.carried, 0)
    from (
        select after->>'region' as region, after->>'month' as month, k.key as institution_id, k.value::bigint as carried
        from runtime.command_log cross join lateral jsonb_each_text(after->'carried') as k where command = 'fund pay'
    ) as s full join (
        select * from account.payment where (region, month) in (
            select after->>'region', after->>'month' from runtime.command_log where command = 'fund pay' and after ? 'carried')
    ) as p using (region, month, institution_id)
    where coalesce(p.carried, 0) <> coalesce(s.carried, 0)
    union all
    select 'fund release ' || r.region || '/' || r.year || ' ' || r.institution_id, 'by a result of ' || r.result
        || ', the command had ' || coalesce(c.after->'results'->>r.institution_id, 'none')
    from account.retention_release r join runtime.command_log c on c.command = 'fund release' and c.after ? 'results'
        and (c.before->>'region', c.before->>'year') = (r.region, r.year::text)
    where r.result is distinct from (c.after->'results'->>r.institution_id)::numeric
    union all
    select distinct 'fund release ' || r.region || '/' || r.year, 'no command says so'
    from account.retention_release r where r.who = '' or r.reason = '' or not exists (
        select from runtime.command_log c where c.command = 'fund release' and c.before->>'region' = r.region
            and (c.before->>'year')::int = r.year and c.who = r.who and c.reason = r.reason)
    union all
    select 'fund repaid ' || r.region || '/' || r.month || ' ' || r.institution_id, 'no command says so'
    from account.repayment r where not exists (
        select from runtime.command_log c where c.command = 'fund repaid' and c.after->'journal' = to_jsonb(r.journal_id)
            and c.who = r.who and c.reason = r.reason)
    """,
)

PAYMENTS = family(_BOOKED, _ITEMS, _RELEASED, _REPAID, _REPAID_ITEMS, _OWNED, _COMMANDED)
