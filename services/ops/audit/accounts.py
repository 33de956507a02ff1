"""I1, I4 and I19 on personal accounts: months are credited once, sheets are what was posted, closed accounts stay closed."""

from services.ops.audit.check import Check, Query, family

SHEETS = Query(
    Check(
        "I1",
        "crediting_equals_postings",
        "每笔月划入等于其分录",
        "what each sheet of monthly credits gives a member (and what he owes back, or is owed late) is what was posted",
        ("account.crediting", "account.posting", "account.worklist"),
    ),
    """
    with sheet as (
        select p.* from account.posting p join account.journal j using (journal_id) where j.kind = 'crediting'
    ), credited as (
        select journal_id, member_id, sum(amount + recoverable + interest - late) as moved, sum(recoverable) as recoverable,
            sum(late) as late
        from account.crediting group by 1, 2
    ), sides as (
        select journal_id, substr(credit, 10) as member_id, amount as moved, 0 as recoverable, 0 as late
        from sheet where credit like 'personal:%'
        union all
        select journal_id, substr(debit, 10), -amount, 0, 0 from sheet where debit like 'personal:%'
        union all
        select journal_id, substr(debit, 13), 0, amount, 0 from sheet where debit like 'recoverable:%'
        union all
        select s.journal_id, coalesce(w.member_id, 'nobody'), 0, 0, s.amount from sheet s
        left join account.worklist w using (journal_id, line) where s.credit like 'closed_accounts:%'
    ), posted as (
        select journal_id, member_id, sum(moved) as moved, sum(recoverable) as recoverable, sum(late) as late
        from sides group by 1, 2
    )
    select 'journal ' || coalesce(c.journal_id, p.journal_id) || ' ' || coalesce(c.member_id, p.member_id) as key,
        'credited ' || coalesce(c.moved, 0) || ' fen (' || coalesce(c.recoverable, 0) || ' to be had back, '
        || coalesce(c.late, 0) || ' late), posted ' || coalesce(p.moved, 0) || ' (' || coalesce(p.recoverable, 0) || ', '
        || coalesce(p.late, 0) || ')' as what
    from credited c full join posted p using (journal_id, member_id)
    where (coalesce(c.moved, 0), coalesce(c.recoverable, 0), coalesce(c.late, 0))
        is distinct from (coalesce(p.moved, 0), coalesce(p.recoverable, 0), coalesce(p.late, 0))
    """,
)

PAID_BY = Query(
    Check(
        "I1",
        "credit_is_paid_by_its_source",
        "每月划入由其资金来源支付",
        "each month's credit is the posting it names: from the source it names, to the member's account",
        ("account.crediting", "account.credit_run", "account.posting"),
    ),
    """
    select c.member_id || ' ' || c.region || ' ' || c.month || ' run ' || c.run_id as key,
        c.amount || ' fen of ' || c.source || ', posted '
            || coalesce(p.debit || ' -> ' || p.credit || ': ' || p.amount, 'nothing') as what
    from account.crediting c join account.credit_run r using (run_id) left join account.posting p using (journal_id, line)
    where r.kind = 'monthly' and c.amount > 0 and (p.debit, p.credit, p.amount) is distinct from (
        case c.source when 'pooled' then 'fund:' || c.region || ':account_credits'
            when 'civil_servant' then 'fund:' || c.region || ':civil_servant_credits' else 'contributions' end,
        'personal:' || c.member_id, c.amount)
    """,
)

ONCE = Query(
    Check(
        "I4",
        "months_are_credited_once",
        "每人每月只划入一次",
        "a member's month has one monthly credit, of the run of that month and region",
        ("account.crediting", "account.credit_run"),
    ),
    """
    select c.member_id || ' ' || c.region || ' ' || c.month as key,
        case when r.run_id is null then 'credited by run ' || c.run_id || ', which nobody commanded'
            when r.region <> c.region or c.month not between r.first_month and r.last_month
                then 'credited by run ' || c.run_id || ' of ' || r.region || ' ' || r.first_month
            else 'its monthly credit comes after another credit of the month' end as what
    from account.crediting c left join account.credit_run r using (run_id)
    where r.run_id is null or r.region <> c.region or c.month not between r.first_month and r.last_month
        or (r.kind = 'monthly' and exists (
            select from account.crediting o join account.credit_run s using (run_id)
            where (o.member_id, o.region, o.month, o.title) = (c.member_id, c.region, c.month, c.title) and o.run_id <> c.run_id
                and (s.kind = 'monthly' or o.journal_id < c.journal_id)))
    """,
)

CLOSED = Query(
    Check(
        "I1",
        "closed_accounts_stay_closed",
        "已销户账户无余额、无后续分录",
        "a closed account is empty, its balance went where the closing says, and nothing was booked to it afterwards",
        ("account.closing", "account.balance", "account.posting"),
    ),
    """
    with closing as (
        select c.*, coalesce(nullif(c.number, 0), c.journal_id) as since, lead(c.number) over by_member as following, (
            select min(o.number) from account.opening o where o.member_id = c.member_id and o.number > c.number) as opened
        from account.closing c window by_member as (partition by c.member_id order by c.number)
    ), standing as (
        select * from closing where opened is null and following is null
    )
    select coalesce(c.member_id, b.member_id) as key,
        case when c.member_id is null then 'closed, and no closing says why'
            when b.member_id is null then 'its closing is booked, and it is open'
            else 'closed with ' || b.balance || ' fen' end as what
    from standing c full join (select * from account.balance where closed) b using (member_id)
    where c.member_id is null or b.member_id is null or b.balance <> 0
    union all
    select c.member_id, 'its closing moves ' || c.amount || ' fen, its postings ' || coalesce(sum(p.amount), 0)
    from account.closing c left join account.posting p on p.journal_id = c.journal_id
        and p.debit = 'personal:' || c.member_id and p.credit = c.disposal || ':' || c.region
    group by c.member_id, c.number, c.amount having c.amount <> coalesce(sum(p.amount), 0)
    union all
    select member_id, 'was closed at ' || number || ', its journal is ' || journal_id from account.closing
    where journal_id <> number
    union all
    select member_id, 'is closed again, and was not opened in between' from closing
    where following is not null and (opened is null or opened > following)
    union all
    select c.member_id, 'journal ' || s.journal_id || ' is booked to it after its closing'
    from closing c join (
        select debit as account, journal_id from account.posting where debit like 'personal:%'
        union all select credit, journal_id from account.posting where credit like 'personal:%'
    ) as s on s.account = 'personal:' || c.member_id and s.journal_id > c.since
        and s.journal_id < coalesce(c.opened, s.journal_id + 1)
    """,
)

OPENED = Query(
    Check(
        "I1",
        "accounts_are_opened_after_a_closing",
        "重新开户在销户之后，转入不超过转出",
        "an account is opened anew only after a closing; what is brought to it went along from its region before, and was posted",
        ("account.opening", "account.closing", "account.posting", "account.journal"),
    ),
    """
    with opening as (
        select o.*, exists (
            select from account.closing c where c.member_id = o.member_id and c.number < o.number) as closed_before
        from account.opening o
    ), moved as (
        select j.issuer as member_id, p.debit, p.credit, p.amount, j.journal_id, j.kind
        from account.journal j join account.posting p using (journal_id) where j.kind in ('closing', 'settling', 'opening')
    ), along as (
        select member_id, credit as account, amount from moved where kind <> 'opening' and credit like 'transferred:%'
        union all
        select member_id, debit, -amount from moved where kind = 'opening' and debit like 'transferred:%'
    )
    select member_id as key, 'was opened anew by ' || number || ', and never closed' as what from opening where not closed_before
    union all
    select member_id, 'had ' || -sum(amount) || ' fen more brought from ' || account || ' than went along' from along
    group by member_id, account having sum(amount) < 0
    union all
    select o.member_id, 'was opened with ' || o.amount || ' fen, posted ' || coalesce(sum(m.amount), 0)
    from opening o left join moved m on m.kind = 'opening' and m.journal_id = o.number
        and m.credit = 'personal:' || o.member_id and m.debit like 'transferred:%'
    group by o.member_id, o.number, o.amount having o.amount <> coalesce(sum(m.amount), 0)
    """,
)

WORKLIST = Query(
    Check(
        "I1",
        "worklist_is_complete",
        "待处理清单与分录一致",
        "what came late for closed accounts, and what is to be had back, is on the work list, fen for fen",
        ("account.worklist", "account.posting", "account.journal"),
    ),
    """
    with posted as (
        select journal_id, p.line, p.amount, case j.kind when 'crediting' then 'late_credit' else 'late_reversal' end as kind,
            substr(p.credit, 17) as whose
        from account.posting p join account.journal j using (journal_id) where p.credit like 'closed_accounts:%'
        union all
        select journal_id, line, amount, 'overcredited', substr(debit, 13) from account.posting where debit like 'recoverable:%'
    )
    select 'journal ' || coalesce(p.journal_id, w.journal_id) || ' line ' || coalesce(p.line, w.line) as key,
        'posted ' || coalesce(p.amount, 0) || ' fen, on the work list ' || coalesce(w.amount, 0) as what
    from posted p full join account.worklist w using (journal_id, line)
    where (p.amount, p.kind, p.whose) is distinct from
        (w.amount, w.kind, case w.kind when 'overcredited' then w.member_id else w.region end)
    union all
    select 'journal ' || w.journal_id || ' line ' || w.line,
        'is of ' || w.region || ', ' || coalesce(w.institution_id || '/' || w.claim_no, 'no claim') || ', posted of '
            || coalesce(c.region, w.region) || ', ' || j.issuer || '/' || j.number
    from account.worklist w join account.journal j using (journal_id)
    left join (select distinct journal_id, region from account.crediting) c using (journal_id)
    where (w.institution_id, w.claim_no) is distinct from
            (case when w.kind = 'late_reversal' then j.issuer end, case when w.kind = 'late_reversal' then j.number end)
        or w.region <> c.region
    """,
)

OWNED = Query(
    Check(
        "I1",
        "sheets_and_closings_have_their_rows",
        "每张划入、销户、结清凭证有其记录",
        "every journal of crediting, closing, opening or settling belongs to its rows",
        ("account.journal", "account.crediting", "account.closing", "account.opening", "account.settling"),
    ),
    """
    select j.issuer || '/' || j.number || ' ' || j.kind as key, 'journal ' || j.journal_id || ' belongs to nothing' as what
    from account.journal j
    where (j.kind = 'crediting' and not exists (select from account.crediting c where c.journal_id = j.journal_id))
        or (j.kind = 'closing' and not exists (select from account.closing c where c.journal_id = j.journal_id))
        or (j.kind = 'opening' and not exists (select from account.opening o where o.number = j.journal_id))
        or (j.kind = 'settling' and not exists (select from account.settling s where s.journal_id = j.journal_id))
    """,
)

SETTLED = Query(
    Check(
        "I1",
        "settling_equals_postings",
        "每笔结清等于其分录",
        "what was settled with a member is what was posted: of the work list's item, or of what ran up between him and a region",
        ("account.settling", "account.posting", "account.worklist"),
    ),
    """
    select s.member_id || ' journal ' || s.journal_id as key, 'settled ' || s.amount || ' fen, posted '
        || coalesce(max(p.debit || ' -> ' || p.credit || ': ' || p.amount), 'nothing') as what
    from account.settling s left join account.posting p using (journal_id)
    left join account.worklist w on (w.journal_id, w.line) = (s.item_journal, s.item_line)
    group by s.journal_id, s.member_id, s.amount
    having count(p.line) <> 1 or not bool_and(p.amount = abs(s.amount) and case
        when s.item_journal is null then case when s.amount > 0
            then p.debit = 'member:' || s.region || ':' || s.member_id and p.credit = 'bank:' || s.region
            else p.credit = 'member:' || s.region || ':' || s.member_id and p.debit = 'bank:' || s.region end
        when w.kind = 'overcredited' then p.credit = 'recoverable:' || s.member_id and p.debit = 'bank:' || s.region
        else p.debit = 'closed_accounts:' || s.region end
        and (s.item_journal is null or (w.member_id = s.member_id and w.amount = p.amount)))
    """,
)

COMMANDED = Query(
    Check(
        "I19",
        "accounts_are_credited_and_closed_by_command",
        "划入、销户与结清均有操作记录",
        "who and why is in the log for every run of credits, every closing and every settling",
        ("account.credit_run", "account.closing", "account.opening", "account.settling", "runtime.command_log"),
    ),
    """
    select 'run ' || r.run_id as key, 'no command of an operator says so' as what from account.credit_run r
    where not exists (
        select from runtime.command_log c where c.after->'run' = to_jsonb(r.run_id) and c.reason <> '' and c.who <> ''
            and c.command = case r.kind when 'monthly' then 'account credit' else 'account trueup' end
            and (c.who, c.reason, c.after->>'region', c.after->'figures') = (r.who, r.reason, r.region, r.figures)
            and (c.after->'months'->>0, c.after->'months'->>-1) = (r.first_month, r.last_month))
    union all
    select 'closing ' || k.member_id, 'no command of an operator says so' from account.closing k
    where not exists (
        select from runtime.command_log c where c.command = 'account close' and c.after->'member_id' = to_jsonb(k.member_id)
            and (c.after->>'case', c.after->>'to') = (k.leaving, k.disposal))
    union all
    select 'opening ' || o.member_id, 'in ' || o.region || ', and neither a month''s credit nor a command says so'
    from account.opening o
    where not exists (
            select from account.crediting c where (c.member_id, c.region, c.journal_id) = (o.member_id, o.region, o.number))
        and not exists (select from runtime.command_log c where c.command = 'account open' and c.reason <> ''
            and c.after->'number' = to_jsonb(o.number)
            and (c.after->>'member_id', c.after->>'region') = (o.member_id, o.region))
    union all
    select 'settling ' || s.member_id, 'no command of an operator says so' from account.settling s
    where not exists (
        select from runtime.command_log c where c.command = 'account settle' and c.who = s.who and c.reason = s.reason
            and c.after->'journals' @> to_jsonb(s.journal_id))
    """,
)

ACCOUNTS = family(SHEETS, PAID_BY, ONCE, CLOSED, OPENED, WORKLIST, SETTLED, OWNED, COMMANDED)
