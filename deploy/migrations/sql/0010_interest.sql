-- Account: what a true-up books bears the interest of the months that were credited since; taken back, it takes that back too.

alter table account.crediting
    drop constraint crediting_interest,
    drop constraint crediting_recoverable,
    drop constraint crediting_late,
    add constraint crediting_interest check (interest >= 0 or amount < 0),
    add constraint crediting_recoverable check (recoverable between 0 and greatest(-amount, 0) + greatest(-interest, 0)),
    add constraint crediting_late check (late between 0 and greatest(amount, 0) + greatest(interest, 0));
