-- Account: what an institution pays back is booked. Money is fen.

-- Of a month that was paid, what waited of an institution: reversals above its claims. They are in payment_item like what a
-- month's payment took, so that nothing takes them again, and say by which journal they were repaid.
create table account.repayment (
    region         text        not null,
    month          text        not null,
    institution_id text        not null,
    amount         bigint      not null,
    journal_id     bigint      not null,
    who            text        not null,
    reason         text        not null,
    repaid_at      timestamptz not null default now(),
    constraint repayment_key primary key (region, month, institution_id),
    constraint repayment_of foreign key (region, month) references account.payment_run,
    constraint repayment_amount check (amount > 0)
);
create trigger repayment_append_only before update or delete or truncate on account.repayment
    for each statement execute function account.append_only();
-- What is booked is not changed (0001_roles.sql grants update on every table to come).
revoke update on account.repayment from gongji_service;

alter table account.payment_item add column repaid bigint; -- the journal; null: taken by the month's payment

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (kind in
        ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing', 'opening', 'payment', 'release', 'settling',
         'clearing', 'repayment'));

-- How much ANALYZE looks at (0012_statistics.sql), of the columns that came since.
do $$
declare
    kept record;
begin
    for kept in
        select attrelid::regclass as relation, attname as name from pg_attribute
        where attrelid in ('account.window_payment'::regclass, 'account.repayment'::regclass, 'account.payment_item'::regclass)
            and attnum > 0 and not attisdropped
    loop
        execute format('alter table %s alter column %I set statistics 10', kept.relation, kept.name);
    end loop;
end
$$;
