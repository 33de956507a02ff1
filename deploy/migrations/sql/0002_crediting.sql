-- Account: the monthly credits, accounts that are closed, and what arrives too late for them. Money is fen.

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (kind in ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing'));

alter table account.balance
    add constraint balance_closed_is_empty check (not closed or balance = 0);

-- One row a command of an operator: what is credited, by which figures. The command travels on account.commands in pieces,
-- each of which names its run. A month of a region has one monthly run, however often it is commanded.

create table account.credit_run (
    run_id      bigint generated always as identity,
    kind        text not null,
    region      text not null,
    first_month text not null,
    last_month  text not null,
    figures     jsonb not null, -- by month: what each kind of member is due, in words
    who         text not null,
    reason      text not null,
    begun_at    timestamptz not null default now(),
    ended_at    timestamptz, -- when all of it was seen to be booked
    constraint credit_run_key primary key (run_id),
    constraint credit_run_kind check (kind in ('monthly', 'true_up')),
    constraint credit_run_months check (first_month <= last_month),
    constraint credit_run_monthly check (kind <> 'monthly' or first_month = last_month)
);
create unique index credit_run_once on account.credit_run (region, first_month) where kind = 'monthly';

-- What was credited to a member for a month: the month's credit, then differences. The journal is that of a whole piece
-- of a run; its postings name the accounts.

create table account.crediting (
    member_id   text not null,
    region      text not null,
    month       text not null,
    run_id      bigint not null,
    part        int not null,
    amount      bigint not null,           -- below zero where a true-up takes back
    recoverable bigint not null default 0, -- of what is taken back: not on the account any more, so on the work list
    interest    bigint not null default 0,
    basis       bigint,                    -- what the rate was applied to; null for a fixed amount
    source      text not null,             -- who pays it: the member's own contributions, or the pooled fund
    article     text not null,
    journal_id  bigint not null,
    line        smallint not null,         -- of its first posting there
    constraint crediting_key primary key (member_id, region, month, run_id),
    constraint crediting_part check (part between 0 and 1023),
    constraint crediting_says_something check (amount <> 0 or interest > 0),
    constraint crediting_recoverable check (recoverable between 0 and greatest(-amount, 0)),
    constraint crediting_interest check (interest >= 0),
    constraint crediting_source check (source in ('contributions', 'pooled'))
);
create trigger crediting_append_only before update or delete or truncate on account.crediting
    for each statement execute function account.append_only();

-- Closed accounts: why, by which article, and where the money went.

create table account.closing (
    member_id  text not null,
    part       int not null,
    region     text not null,
    leaving    text not null,
    disposal   text not null,
    article    text not null,
    amount     bigint not null,
    closed_on  date not null,
    journal_id bigint,
    booked_at  timestamptz not null default now(),
    constraint closing_key primary key (member_id),
    constraint closing_part check (part between 0 and 1023),
    constraint closing_disposal check (disposal in ('transferred', 'paid_out', 'heirs')),
    constraint closing_amount check (amount >= 0),
    constraint closing_journal check ((amount > 0) = (journal_id is not null))
);
create trigger closing_append_only before update or delete or truncate on account.closing
    for each statement execute function account.append_only();

-- Money that a person must see to; each row is one posting to closed_accounts:<region> or recoverable:<member>.

create table account.worklist (
    journal_id     bigint not null,
    line           smallint not null,
    kind           text not null,
    region         text not null,
    member_id      text not null,
    part           int not null,
    amount         bigint not null,
    institution_id text,
    claim_no       text,
    noted_at       timestamptz not null default now(),
    constraint worklist_key primary key (journal_id, line),
    constraint worklist_kind check (kind in ('late_reversal', 'overcredited')),
    constraint worklist_part check (part between 0 and 1023),
    constraint worklist_amount check (amount > 0)
);
