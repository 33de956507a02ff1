-- The counter (HTTP): keys of institutions, and an institution's own outcomes in a gapless order.

create table intake.api_key (
    key_id         text        not null,
    institution_id text        not null,
    digest         bytea       not null, -- of the secret; the key itself is shown once and kept nowhere
    created_at     timestamptz not null default now(),
    revoked_at     timestamptz,
    constraint api_key_pk primary key (key_id),
    constraint api_key_digest check (length(digest) = 32),
    constraint api_key_order check (revoked_at >= created_at)
);

-- Whose first rejection a message is; null for everything else. Within a source partition rows are committed in the order
-- of seq, so (partition, seq) is a cursor that no late commit can slip behind.
alter table intake.outgoing add column rejected_institution text collate "C";
create index outgoing_rejected on intake.outgoing (rejected_institution, source_partition, seq)
    where rejected_institution is not null;
create index outcome_of_institution on account.outcome (institution_id, source_partition, seq) where kind <> 'answer';

-- Whoever only watches sees which keys there are, and no digest.
grant select on intake.api_key to gongji_service;
revoke select on intake.api_key from gongji_ops;
grant select (key_id, institution_id, created_at, revoked_at) on intake.api_key to gongji_ops;
