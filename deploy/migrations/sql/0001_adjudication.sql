-- Adjudication: what the funds pay for each claim, and what each member has used. Amounts in fen.
create schema adjudication;

-- Packs by the hash of their content: every decision can be run again under the rules that made it.
create table adjudication.pack (
    hash text constraint pack_pkey primary key,
    region text not null,
    version text not null,
    content bytea not null,
    stored_at timestamptz not null default now()
);

-- Inbox (by its primary key), outbox (by its sequence) and grounds (value: the event with claim, verdict, decision) in
-- one row. A question's row only says that it passed.
create table adjudication.decision (
    institution_id text not null,
    claim_no text not null,
    kind text not null constraint decision_kind check (kind in ('claim', 'reversal', 'account_use', 'question')),
    revision int not null,
    ordinal bigint generated always as identity,
    member_id text not null,
    part int not null constraint decision_part check (part between 0 and 1023),
    visited_on date,
    period text not null,
    outcome text constraint decision_outcome check (outcome in ('settled', 'rejected', 'reversed')),
    latest_first boolean not null default false,
    total bigint not null,
    own_paid bigint not null,
    over_limit bigint not null,
    pre_self_pay bigint not null,
    in_scope bigint not null,
    deductible bigint not null,
    pooled bigint not null,
    large_expense bigint not null,
    civil_servant bigint not null,
    veterans bigint not null,
    pack_hash text,
    source_topic text not null,
    source_partition int not null,
    seq bigint,
    target text,
    key bytea,
    value bytea,
    constraint decision_pkey primary key (institution_id, claim_no, kind, revision),
    constraint decision_seq unique (source_topic, source_partition, seq),
    constraint decision_parts check (total = own_paid + over_limit + pre_self_pay + in_scope),
    constraint decision_signs check (
        case when outcome = 'reversed'
            then greatest(total, own_paid, over_limit, pre_self_pay, in_scope, deductible,
                          pooled, large_expense, civil_servant, veterans) <= 0
            else least(total, own_paid, over_limit, pre_self_pay, in_scope, deductible,
                       pooled, large_expense, civil_servant, veterans) >= 0
        end),
    constraint decision_rejected_books_nothing check (outcome is distinct from 'rejected' or total = 0),
    constraint decision_funds check (
        abs(pooled + large_expense + civil_servant) <= abs(in_scope)
        and abs(pooled + large_expense + civil_servant + veterans) <= abs(in_scope + pre_self_pay)),
    constraint decision_deductible check (abs(deductible + pooled) <= abs(in_scope))
);

-- Only where a pack refuses to cancel a claim while a later one stands; empty otherwise.
create index decision_standing on adjudication.decision (member_id, period) where latest_first;

-- What was used, and the highest ceiling ever applied to it (null: none). Rows are locked in key order.
create table adjudication.counter (
    member_id text not null,
    period text not null,
    name text not null,
    part int not null constraint counter_part check (part between 0 and 1023),
    used bigint not null constraint counter_used check (used >= 0),
    ceiling bigint,
    version bigint not null,
    constraint counter_pkey primary key (member_id, period, name),
    constraint counter_ceiling check (used <= ceiling)
);
