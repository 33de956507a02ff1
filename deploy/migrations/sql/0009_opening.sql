-- Account: who moved to another region of these books, or came back, has an account again. Money is fen.

-- The ledger's number at the closing: what was booked to the account before it has a lower one. A closing from before this
-- column has its journal's, or none; each member has one of those at most.
alter table account.closing disable trigger closing_append_only;
alter table account.closing add column number bigint not null default 0;
update account.closing set number = journal_id where journal_id is not null;
alter table account.closing enable trigger closing_append_only;
alter table account.closing alter column number drop default, drop constraint closing_key,
    add constraint closing_key primary key (member_id, number);

-- Accounts that were opened anew after a closing: by the first month's credit, or by command, which may bring the balance along.
create table account.opening (
    member_id  text   not null,
    part       int    not null,
    region     text   not null, -- in which the member is insured now
    number     bigint not null, -- the ledger's: of the sheet of credits, of the journal that brings the balance, or of none
    amount     bigint not null default 0,
    booked_at  timestamptz not null default now(),
    constraint opening_key primary key (member_id, number),
    constraint opening_part check (part between 0 and 1023),
    constraint opening_amount check (amount >= 0)
);
create trigger opening_append_only before update or delete or truncate on account.opening
    for each statement execute function account.append_only();

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (kind in
        ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing', 'opening', 'payment', 'release', 'settling'));
