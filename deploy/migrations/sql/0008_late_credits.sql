-- Account: a true-up of a month that was credited to an account closed since. Its member, or his heirs, are owed the
-- difference or owe it; nothing of it is booked to the account. Money is fen.

alter table account.crediting
    add column late bigint not null default 0, -- of the amount: not to the account, which is closed, but to clearing
    add constraint crediting_late check (late between 0 and greatest(amount, 0));

alter table account.worklist
    drop constraint worklist_kind,
    add constraint worklist_kind check (kind in ('late_reversal', 'late_credit', 'overcredited'));
