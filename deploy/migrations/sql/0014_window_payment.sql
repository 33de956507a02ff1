-- Account: what regions owe each other by a closed clearing window is paid, and booked as paid. Money is fen.

-- Each position of a window once, the whole window in one transaction. A position of nothing has no journal.
create table account.window_payment (
    window_id  bigint      not null,
    debtor     text        not null, -- the place of insurance
    creditor   text        not null, -- the place of care
    amount     bigint      not null, -- the position's; below zero: the place of care paid
    journal_id bigint,
    who        text        not null,
    reason     text        not null,
    paid_at    timestamptz not null default now(),
    constraint window_payment_key primary key (window_id, debtor, creditor),
    constraint window_payment_two_regions check (debtor <> creditor),
    constraint window_payment_journal check ((journal_id is null) = (amount = 0))
);
create trigger window_payment_append_only before update or delete or truncate on account.window_payment
    for each statement execute function account.append_only();
-- What is booked is not changed (0001_roles.sql grants update on every table to come).
revoke update on account.window_payment from gongji_service;

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (kind in
        ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing', 'opening', 'payment', 'release', 'settling',
         'clearing'));
