-- Intake: one row a number, the rejections it gave itself, and what it announced.

create schema intake;

-- A claim (or account use) and its reversal share one number, so they share one row, and the row is the lock.
create table intake.submission (
    institution_id text        collate "C" not null,
    claim_no       text        collate "C" not null,
    part           int         not null, -- the member's; the institution's while only a reversal has come
    kind           text,
    digest         bytea,
    member_id      text,
    accepted_at    timestamptz,
    reversed       boolean     not null,
    closed         boolean     not null, -- the reversal came first: no claim can use the number any more
    questions      int         not null, -- repeats passed on so far
    constraint submission_pk primary key (institution_id, claim_no),
    constraint submission_part check (part between 0 and 1023),
    constraint submission_kind check (kind in ('claim', 'account_use')),
    constraint submission_digest check (length(digest) = 32),
    constraint submission_whole check (
        (kind is null) = (digest is null) and (kind is null) = (member_id is null) and (kind is not null or closed)
    ),
    constraint submission_closed check (
        not closed or (reversed and questions = 0 and accepted_at is null)
    ),
    constraint submission_accepted check (closed or accepted_at is not null),
    constraint submission_questions check (questions >= 0)
) with (fillfactor = 90); -- room for in-place updates: no column that changes is indexed

-- A repeat of a rejected record gets the same bytes again, its first settled_at among them.
create table intake.rejection (
    event_id text  collate "C" not null,
    part     int   not null,
    value    bytea not null,
    constraint rejection_pk primary key (event_id),
    constraint rejection_part check (part between 0 and 1023)
);

create table intake.outgoing (
    source_topic     text   not null,
    source_partition int    not null,
    seq              bigint not null,
    target           text   not null,
    part             int    not null,
    key              bytea  not null,
    value            bytea  not null,
    event_id         text   not null,
    constraint outgoing_pk primary key (source_topic, source_partition, seq),
    constraint outgoing_target check (target in ('claims.accepted', 'claims.rejected')),
    constraint outgoing_part check (part between 0 and 1023)
);
