-- Account: seals over the ledger, and the payment of institutions. Money is fen.

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (
        kind in ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing', 'payment', 'release')
    );

-- Blocks of postings, each with the hash of the one before. A block holds the postings after the last of its predecessor, in
-- the order of (journal, line). That is sound because journal numbers come from account.journal_number alone, drawn in the
-- transaction that books them: the sealer looks up the number drawn last, waits until every transaction that then held the
-- sequence has ended (drawing a number locks the sequence, weakly, until the end), and seals up to it. Whatever appears below
-- later was put there by hand, and is found. ``leaves`` (the digests, one after the other) names the posting that changed.

create table account.block (
    number        bigint      not null,
    day           date        not null, -- of booking, in Asia/Shanghai; never before that of the block before
    algorithm     text        not null,
    first_journal bigint      not null,
    first_line    smallint    not null,
    last_journal  bigint      not null,
    last_line     smallint    not null,
    postings      int         not null,
    previous_hash bytea       not null,
    merkle_root   bytea       not null,
    sealed_at     timestamptz not null,
    hash          bytea       not null,
    leaves        bytea       not null,
    constraint block_key primary key (number),
    constraint block_chain unique (previous_hash),
    constraint block_algorithm check (algorithm in ('sm3', 'sha256')),
    constraint block_order check ((first_journal, first_line) <= (last_journal, last_line)),
    constraint block_whole check (postings > 0 and length(leaves) = postings * length(hash) and length(hash) = length(merkle_root))
);

-- The Merkle root of a day's blocks, as published. A day may have several while it lasts; the one that closes it is its last,
-- and what is booked for the day after that is in the next day's.

create table account.day_root (
    day         date        not null,
    last_block  bigint      not null,
    closes      boolean     not null,
    first_block bigint      not null,
    algorithm   text        not null,
    root        bytea       not null,
    value       bytea       not null, -- as it is announced and written to a file
    made_at     timestamptz not null,
    constraint day_root_key primary key (day, last_block, closes),
    constraint day_root_blocks check (first_block <= last_block)
);
create unique index day_root_closed_once on account.day_root (day) where closes;

create table account.day_root_announced (
    day          date        not null,
    last_block   bigint      not null,
    closes       boolean     not null,
    announced_at timestamptz not null default now(),
    constraint day_root_announced_key primary key (day, last_block, closes),
    constraint day_root_announced_root foreign key (day, last_block, closes) references account.day_root
);

-- Institutions are paid once a region and month. ``grounds``: the figures it was reckoned by.

create table account.payment_run (
    region   text        not null,
    month    text        not null,
    rule     text        not null,
    grounds  jsonb       not null,
    who      text        not null,
    reason   text        not null,
    paid_at  timestamptz not null default now(),
    constraint payment_run_key primary key (region, month),
    constraint payment_run_rule check (rule in ('by_item', 'monthly_budget')),
    constraint payment_run_month check (month ~ '^[0-9]{4}-(0[1-9]|1[0-2])$')
);

-- An outcome is paid once, each of its shares: what the region's funds owe (fund), and what else the institution gets for it
-- (other: accounts, members of other regions, cost outside the budget).

create table account.payment_item (
    institution_id text   not null,
    claim_no       text   not null,
    kind           text   not null,
    revision       int    not null,
    share          text   not null,
    part           int    not null,
    region         text   not null,
    month          text   not null,
    amount         bigint not null, -- below zero: a reversal's
    constraint payment_item_key primary key (institution_id, claim_no, kind, revision, share),
    constraint payment_item_share check (share in ('fund', 'other')),
    constraint payment_item_part check (part between 0 and 1023),
    constraint payment_item_run foreign key (region, month) references account.payment_run
);

create table account.payment (
    region         text   not null,
    month          text   not null,
    institution_id text   not null,
    incurred       bigint not null,
    due            bigint not null,
    paid           bigint not null,
    retained       bigint not null,
    other          bigint not null,
    carried        bigint not null, -- reversals above what could be set off: they wait for a later month
    journal_id     bigint,
    constraint payment_key primary key (region, month, institution_id),
    constraint payment_run_of foreign key (region, month) references account.payment_run,
    constraint payment_not_negative check (least(incurred, due, paid, retained, other) >= 0 and carried <= 0),
    constraint payment_adds_up check (due = paid + retained),
    constraint payment_journal check (journal_id is not null or (incurred = 0 and due = 0 and other = 0))
);

-- What was kept of a year, by the assessment's result: paid after all, or lost to the fund.

create table account.retention_release (
    region         text        not null,
    year           int         not null,
    institution_id text        not null,
    retained       bigint      not null,
    result         numeric     not null, -- percent
    released       bigint      not null,
    forfeited      bigint      not null,
    journal_id     bigint      not null,
    who            text        not null,
    reason         text        not null,
    released_at    timestamptz not null default now(),
    constraint retention_release_key primary key (region, year, institution_id),
    constraint retention_release_result check (result between 0 and 100),
    constraint retention_release_adds_up check (retained = released + forfeited and least(released, forfeited) >= 0)
);

do $$
declare
    name text;
begin
    foreach name in array array['block', 'day_root', 'day_root_announced', 'payment_run', 'payment_item', 'payment',
                                'retention_release'] loop
        execute format('create trigger %I before update or delete or truncate on account.%I
                        for each statement execute function account.append_only()', name || '_append_only', name);
        execute format('revoke update on account.%I from gongji_service', name); -- 0001_roles.sql grants it on every table
    end loop;
end
$$;
