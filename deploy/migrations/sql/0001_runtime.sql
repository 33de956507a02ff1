-- The loop's own books: who works on which partition, up to where, and what could not be read.

create schema runtime;

-- One row: what this database belongs to.
create table runtime.deployment (
    one         boolean     not null default true,
    incarnation uuid        not null default gen_random_uuid(),
    cluster_id  text        not null,
    partitions  int         not null,
    created_at  timestamptz not null default now(),
    constraint deployment_pk primary key (one),
    constraint deployment_one check (one),
    constraint deployment_partitions check (partitions between 1 and 1024)
);

-- next_offset is the truth about where to go on; Kafka's committed offsets are advisory.
create table runtime.lease (
    service       text        not null,
    topic         text        not null,
    partition     int         not null,
    cluster_id    text        not null,
    epoch         bigint      not null default 0,
    owner         text        not null default '',
    backend_pid   int,
    next_offset   bigint      not null default 0,
    last_digest   bytea,
    out_seq       bigint      not null default 0,
    relayed_seq   bigint      not null default 0,
    projected_seq bigint      not null default 0,
    records       bigint      not null default 0,
    decided       bigint      not null default 0,
    repeated      bigint      not null default 0,
    rejected      bigint      not null default 0,
    quarantined   bigint      not null default 0,
    updated_at    timestamptz not null default now(),
    constraint lease_pk primary key (service, topic, partition),
    constraint lease_relayed check (relayed_seq between 0 and out_seq),
    constraint lease_projected check (projected_seq between 0 and out_seq),
    constraint lease_next_offset check (next_offset >= 0),
    constraint lease_no_silent_drop check (records = decided + repeated + rejected + quarantined)
) with (fillfactor = 50);

-- Poison, with its original bytes; also the outbox of claims.dead (seq is drawn from the same lease).
-- rank: the id of the first row of a record that failed again after a redrive; order among a claim's rows goes by it.
create table runtime.quarantine (
    id              bigint      generated always as identity,
    service         text        not null,
    topic           text        not null,
    partition       int         not null,
    record_offset   bigint      not null,
    seq             bigint      not null,
    part            int         not null,
    rank            bigint,
    claim_key       text,
    reason          text        not null,
    detail          text        not null,
    key             bytea,
    value           bytea       not null,
    headers         jsonb       not null default '[]',
    state           text        not null default 'held',
    attempts        int         not null default 1,
    first_failed_at timestamptz not null default now(),
    last_failed_at  timestamptz not null default now(),
    closed_at       timestamptz,
    closed_why      text,
    constraint quarantine_pk primary key (id),
    constraint quarantine_place unique (service, topic, partition, record_offset),
    constraint quarantine_seq unique (service, topic, partition, seq),
    constraint quarantine_state check (state in ('held', 'redriven', 'discarded'))
);
create index quarantine_held on runtime.quarantine (service, claim_key) where state = 'held' and claim_key is not null;

-- Every privileged command leaves who, when, why, from what to what.
create table runtime.command_log (
    id       bigint      generated always as identity,
    at       timestamptz not null default now(),
    who      text        not null,
    command  text        not null,
    reason   text        not null,
    before   jsonb       not null default '{}',
    after    jsonb       not null default '{}',
    constraint command_log_pk primary key (id)
);
