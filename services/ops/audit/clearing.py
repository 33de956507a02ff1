"""I12: what crosses a border is owed once, in one window, and all figures of clearing come to the same."""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import Check, Query, family, key_of

_O = key_of("o")
_B = key_of("b")
# Of a reversal: what its claim's first outcome had the place of care pay.
_PAID = """(case when o.kind = 'reversal' then (
    select coalesce(-sum(f.fund_total + f.account + f.family_account), 0)::bigint from account.outcome f
    where (f.institution_id, f.claim_no, f.revision) = (o.institution_id, o.claim_no, 0) and f.kind in ('claim', 'account_use'))
    else o.fund_total + o.account + o.family_account end)"""
# Where the person gets the money (a reimbursement, a revision), his own region settles with him.
_REMOTE = "o.insured_region <> '' and o.care_region <> '' and o.insured_region <> o.care_region and o.payee = ''"
_STRAYED = "b.key is distinct from convert_to(b.debtor || ':' || b.creditor, 'utf8')"

_OWED = Query(
    Check(
        "I12",
        "remote_outcome_is_owed",
        "每笔异地结算恰有一笔清算义务",
        "every outcome whose money crosses a border is owed once, to the fen",
        ("account.outcome", "crossregion.obligation"),
    ),
    f"""
    with horizon as (
        select o.source_partition, o.part * {{parts}} / 1024 as partition, max(o.seq) as seq
        from account.outcome o join crossregion.obligation b using (institution_id, claim_no, kind, revision) group by 1, 2
    )
    select {_O} as key,
        case when b.kind is null then 'settled in ' || o.care_region || ' for ' || o.insured_region || ', and not owed'
            else 'owed ' || b.amount || ' fen by ' || b.debtor || ' to ' || b.creditor || ', settled ' || {_PAID} || ' by '
                || o.insured_region || ' in ' || o.care_region end as what,
        (b.kind is not null or coalesce(o.seq < h.seq, false) or o.seq is null
            or o.part * {{parts}} / 1024 = any($1::int[])) as due
    from account.outcome o
    left join crossregion.obligation b using (institution_id, claim_no, kind, revision)
    left join horizon h on h.source_partition = o.source_partition and h.partition = o.part * {{parts}} / 1024
    where o.kind <> 'answer' and {_REMOTE} and {_PAID} <> 0
        and (b.debtor, b.creditor, b.amount) is distinct from (o.insured_region, o.care_region, {_PAID})
        and not exists (select from runtime.quarantine q where q.state <> 'redriven' and q.service = 'crossregion'
            and q.claim_key = length(o.institution_id) || ':' || o.institution_id || ':' || o.claim_no)
    """,
    lambda view: (view.cleared_all,),
)

_FOUNDED = Query(
    Check(
        "I12",
        "obligation_has_its_outcome",
        "每笔清算义务都有其结算，且只属一个清算期",
        "every obligation rests on a remote outcome, is in one window, and announced under its pair of regions",
        ("crossregion.obligation", "account.outcome", "crossregion.clearing_window"),
    ),
    f"""
    select {_B} as key, case when {_STRAYED} then 'announced under ' || coalesce(encode(b.key, 'escape'), 'no key')
        else 'owed, and nothing of it was settled across a border' end as what
    from crossregion.obligation b left join account.outcome o using (institution_id, claim_no, kind, revision)
    where o.kind is null or not ({_REMOTE}) or {_PAID} = 0 or {_STRAYED}
    union all
    select {_B}, 'in ' || count(*) || ' windows' from crossregion.obligation b
    group by b.institution_id, b.claim_no, b.kind, b.revision having count(*) > 1
    union all
    select {_B}, 'window ' || b.window_id || ' does not exist'
    from crossregion.obligation b left join crossregion.clearing_window w using (window_id) where w.window_id is null
    """,
)

_MATRIX = Query(
    Check(
        "I12",
        "matrix_equals_obligations",
        "清算矩阵等于其义务之和",
        "each cell of a closed window is the sum of its obligations",
        ("crossregion.net_position", "crossregion.obligation", "crossregion.clearing_window"),
    ),
    """
    with summed as (
        select b.window_id, b.debtor, b.creditor, sum(b.amount) as gross, count(*) as claims
        from crossregion.obligation b join crossregion.clearing_window w using (window_id) where w.closed_at is not null
        group by 1, 2, 3
    )
    select 'window ' || coalesce(s.window_id, n.window_id) || ': ' || coalesce(s.debtor, n.debtor) || ' -> '
            || coalesce(s.creditor, n.creditor) as key,
        'the matrix says ' || coalesce(n.gross, 0) || ' fen of ' || coalesce(n.claims, 0) || ' claims, they come to '
            || coalesce(s.gross, 0) || ' of ' || coalesce(s.claims, 0) as what
    from summed s full join crossregion.net_position n using (window_id, debtor, creditor)
    where (s.gross, s.claims) is distinct from (n.gross::numeric, n.claims)
    """,
)

_REGIONS = Query(
    Check(
        "I12",
        "rows_equal_columns",
        "各地应收应付等于矩阵行列之和，轧差合计为零",
        "what regions receive and pay are the matrix's columns and rows; the nets sum to zero",
        ("crossregion.net_region", "crossregion.net_position"),
    ),
    """
    with sides as (
        select window_id, region, sum(receivable) as receivable, sum(payable) as payable from (
            select window_id, creditor as region, gross as receivable, 0 as payable from crossregion.net_position
            union all select window_id, debtor, 0, gross from crossregion.net_position
        ) as both_sides group by 1, 2
    )
    select 'window ' || coalesce(s.window_id, n.window_id) || ': ' || coalesce(s.region, n.region) as key,
        'receives ' || coalesce(n.receivable, 0) || ' and pays ' || coalesce(n.payable, 0) || ' fen, the matrix says '
            || coalesce(s.receivable, 0) || ' and ' || coalesce(s.payable, 0) as what
    from sides s full join crossregion.net_region n using (window_id, region)
    where (s.receivable, s.payable) is distinct from (n.receivable::numeric, n.payable::numeric)
    union all
    select 'window ' || window_id, 'the nets sum to ' || sum(net) || ' fen' from crossregion.net_region
    group by window_id having sum(net) <> 0
    """,
)

_POSTED = Query(
    Check(
        "I12",
        "obligation_equals_postings",
        "清算义务等于应收应付分录",
        "each obligation is what its journal put on due-to and due-from",
        ("crossregion.obligation", "account.posting", "account.outcome"),
    ),
    f"""
    select {_B} as key, 'owed ' || b.amount || ' fen, its postings come to ' || coalesce(sum(case
            when p.credit = 'due_to:' || b.debtor || ':' || b.creditor then p.amount
            when p.debit = 'due_to:' || b.debtor || ':' || b.creditor then -p.amount end), 0) as what
    from crossregion.obligation b join account.outcome o using (institution_id, claim_no, kind, revision)
    left join account.posting p using (journal_id)
    group by b.institution_id, b.claim_no, b.kind, b.revision, b.amount, b.debtor, b.creditor
    having b.amount <> coalesce(sum(case when p.credit = 'due_to:' || b.debtor || ':' || b.creditor then p.amount
            when p.debit = 'due_to:' || b.debtor || ':' || b.creditor then -p.amount end), 0)
        or b.amount <> coalesce(sum(case when p.debit = 'due_from:' || b.creditor || ':' || b.debtor then p.amount
            when p.credit = 'due_from:' || b.creditor || ':' || b.debtor then -p.amount end), 0)
    """,
)

CLEARING = family(_OWED, _FOUNDED, _MATRIX, _REGIONS, _POSTED)
