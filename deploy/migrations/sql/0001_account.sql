-- Account: balances, the ledger, and the outcomes of the whole path. Money is fen.

create schema account;

create table account.balance (
    member_id text not null,
    part      int not null,
    balance   bigint not null default 0,
    version   bigint not null default 0,
    closed    boolean not null default false,
    constraint balance_key primary key (member_id),
    constraint balance_part check (part between 0 and 1023),
    constraint balance_not_negative check (balance >= 0)
) with (fillfactor = 80); -- room for in-place updates: no column that changes is indexed

-- Journals and postings are appended, never amended. No foreign key from posting to journal: both are written by
-- one transaction, and a key check per posting would cost more than all else here; `gongji audit` joins them.

create sequence account.journal_number;

create table account.journal (
    journal_id bigint not null,
    issuer     text not null, -- the institution; of a credit, the member
    number     text not null, -- claim_no, use_no; of a credit, credit_no
    kind       text not null,
    revision   int not null,
    part       int not null,
    corrects   bigint,
    booked_at  timestamptz not null default now(),
    constraint journal_key primary key (journal_id),
    constraint journal_once unique (issuer, number, kind, revision),
    constraint journal_kind check (kind in ('claim', 'reversal', 'account_use', 'credit')),
    constraint journal_part check (part between 0 and 1023),
    constraint journal_corrects_another check (corrects <> journal_id)
);

create table account.posting (
    journal_id bigint not null,
    line       smallint not null,
    debit      text not null,
    credit     text not null,
    amount     bigint not null,
    part       int not null,
    constraint posting_key primary key (journal_id, line),
    constraint posting_amount_positive check (amount > 0),
    constraint posting_two_accounts check (debit <> credit)
);

create function account.append_only() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: correct with a further journal', tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end
$$;

create trigger journal_append_only before update or delete or truncate on account.journal
    for each statement execute function account.append_only();
create trigger posting_append_only before update or delete or truncate on account.posting
    for each statement execute function account.append_only();

-- One row an answer: inbox (the key), outbox (what is announced) and the amounts. Rows of kind 'answer' only repeat the
-- bytes of an earlier outcome for a submission that came again; their revision is the question's number.

create table account.outcome (
    institution_id   text not null,
    claim_no         text not null,
    kind             text not null,
    revision         int not null,
    member_id        text not null,
    part             int not null,
    outcome          text not null,
    total            bigint not null,
    own_paid         bigint not null,
    over_limit       bigint not null,
    pre_self_pay     bigint not null,
    in_scope         bigint not null,
    deductible       bigint not null,
    pooled           bigint not null,
    large_expense    bigint not null,
    civil_servant    bigint not null,
    veterans         bigint not null,
    fund_total       bigint not null generated always as (pooled + large_expense + civil_servant + veterans) stored,
    account          bigint not null,
    family_account   bigint not null,
    cash             bigint not null,
    family_payer     text not null,
    insured_region   text not null,
    care_region      text not null,
    settled_at       timestamptz not null,
    journal_id       bigint,
    source_topic     text not null,
    source_partition int not null,
    seq              bigint,
    target           text,
    key              bytea,
    value            bytea not null,
    constraint outcome_key primary key (institution_id, claim_no, kind, revision),
    constraint outcome_relay unique (source_topic, source_partition, seq),
    constraint outcome_kind check (kind in ('claim', 'reversal', 'account_use', 'answer')),
    constraint outcome_word check (outcome in ('settled', 'rejected', 'reversed')),
    constraint outcome_part check (part between 0 and 1023),
    constraint outcome_cost_adds_up check (total = own_paid + over_limit + pre_self_pay + in_scope),
    constraint outcome_payment_adds_up check (
        total = pooled + large_expense + civil_servant + veterans + account + family_account + cash
    ),
    constraint outcome_sign check (
        case outcome
            when 'settled' then least(own_paid, over_limit, pre_self_pay, in_scope,
                pooled, large_expense, civil_servant, veterans, account, family_account, cash) >= 0
            when 'reversed' then greatest(own_paid, over_limit, pre_self_pay, in_scope,
                pooled, large_expense, civil_servant, veterans, account, family_account, cash) <= 0
            else total = 0 and journal_id is null
        end
    ),
    constraint outcome_journal check (
        journal_id is not null
        or (pooled = 0 and large_expense = 0 and civil_servant = 0 and veterans = 0 and account = 0 and family_account = 0)
    ),
    constraint outcome_family_payer check (family_account = 0 or family_payer <> '')
);

-- Credits of the register: money, so the first content stands and is never replaced.

create table account.credit (
    member_id  text not null,
    credit_no  text not null,
    part       int not null,
    amount     bigint not null,
    month      text not null,
    reason     text not null,
    journal_id bigint,
    booked_at  timestamptz not null default now(),
    constraint credit_key primary key (member_id, credit_no),
    constraint credit_part check (part between 0 and 1023),
    constraint credit_amount check (amount >= 0),
    constraint credit_journal check ((amount > 0) = (journal_id is not null))
);
