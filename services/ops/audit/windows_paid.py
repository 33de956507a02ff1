"""I1, I12 and I19 on clearing windows that were paid: whole, as their matrix says, once, and by somebody's command."""

from services.ops.audit.check import Check, Query, family

_WHOLE = Query(
    Check(
        "I12",
        "window_is_paid_as_its_matrix_says",
        "每个已拨付的清算周期按其矩阵全部拨付",
        "a window is paid whole or not at all: each of its positions once and to the fen, and nothing besides",
        ("account.window_payment", "crossregion.net_position"),
    ),
    """
    with owed as (
        select * from crossregion.net_position n
        where exists (select from account.window_payment p where p.window_id = n.window_id)
    )
    select 'window ' || coalesce(p.window_id, o.window_id) || ': ' || coalesce(p.debtor, o.debtor) || ' -> '
            || coalesce(p.creditor, o.creditor) as key,
        'the matrix says ' || coalesce(o.gross::text, 'nothing') || ', paid is ' || coalesce(p.amount::text, 'nothing') as what
    from owed o full join account.window_payment p using (window_id, debtor, creditor)
    where o.gross is distinct from p.amount
    """,
)

_BOOKED = Query(
    Check(
        "I1",
        "window_payment_equals_postings",
        "每笔清算拨付等于其分录",
        "what one region paid another by a window is what was posted: off both sides' books, from one bank to the other",
        ("account.window_payment", "account.posting"),
    ),
    """
    select 'window ' || w.window_id || ': ' || w.debtor || ' -> ' || w.creditor as key,
        'paid ' || w.amount || ' fen, the postings say ' || s.due_to || ' and ' || s.due_from as what
    from account.window_payment w
    left join account.journal j on j.journal_id = w.journal_id
    cross join lateral (
        select coalesce(sum(case 'due_to:' || w.debtor || ':' || w.creditor
                when debit then amount when credit then -amount end), 0) as due_to,
            coalesce(sum(case 'bank:' || w.debtor when credit then amount when debit then -amount end), 0) as gave,
            coalesce(sum(case 'bank:' || w.creditor when debit then amount when credit then -amount end), 0) as got,
            coalesce(sum(case 'due_from:' || w.creditor || ':' || w.debtor
                when credit then amount when debit then -amount end), 0) as due_from,
            coalesce(sum(amount), 0) as gross
        from account.posting where journal_id = w.journal_id
    ) as s
    where (s.due_to, s.gave, s.got, s.due_from, s.gross)
            is distinct from (w.amount, w.amount, w.amount, w.amount, 2 * abs(w.amount))
        or w.amount <> 0
            and (j.kind, j.issuer, j.number) is distinct from ('clearing', w.debtor, w.creditor || '/' || w.window_id)
    """,
)

_OWNED = Query(
    Check(
        "I1",
        "every_clearing_journal_has_its_window",
        "每张清算拨付凭证有其清算周期",
        "every journal of clearing is the payment of one position of a window",
        ("account.journal", "account.window_payment"),
    ),
    """
    select j.issuer || '/' || j.number || ' ' || j.kind as key,
        'journal ' || j.journal_id || ' belongs to ' || count(w.window_id) || ' positions' as what
    from account.journal j left join account.window_payment w using (journal_id)
    where j.kind = 'clearing' group by j.journal_id, j.issuer, j.number, j.kind having count(w.window_id) <> 1
    """,
)

_COMMANDED = Query(
    Check(
        "I19",
        "window_payments_are_commanded",
        "每次清算拨付有操作记录",
        "who and why is in the log for every window that was paid",
        ("account.window_payment", "runtime.command_log"),
    ),
    """
    select distinct 'window ' || w.window_id as key, 'paid, and no command of an operator says so' as what
    from account.window_payment w
    where not exists (
        select from runtime.command_log c where c.command = 'fund clear' and c.after->'window' = to_jsonb(w.window_id)
            and c.who = w.who and c.reason = w.reason)
        or w.journal_id is not null and not exists (
            select from runtime.command_log c where c.command = 'fund clear' and c.after->'journals' @> to_jsonb(w.journal_id))
    """,
)

WINDOWS_PAID = family(_WHOLE, _BOOKED, _OWNED, _COMMANDED)
