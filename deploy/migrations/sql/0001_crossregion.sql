-- Crossregion: what one region owes another, by clearing window. Money is fen.

create schema crossregion;

create table crossregion.clearing_window (
    window_id    bigint not null generated always as identity,
    opened_at    timestamptz not null default now(),
    closed_at    timestamptz,
    announced_at timestamptz, -- on clearing.windows, after the closing was committed
    constraint clearing_window_key primary key (window_id),
    constraint clearing_window_closed_after_opened check (closed_at >= opened_at),
    constraint clearing_window_announced_after_closed check (announced_at >= closed_at)
);

create unique index clearing_window_one_open on crossregion.clearing_window ((true)) where closed_at is null;

-- One row an outcome whose money crosses a border: inbox (the key), outbox, and the figure that positions add up.
-- A reversal is a row of its own with the negative amount, in the window that is open when it comes.

create table crossregion.obligation (
    institution_id   text not null,
    claim_no         text not null, -- or use_no
    kind             text not null,
    revision         int not null,
    part             int not null,
    debtor           text not null, -- the place of insurance
    creditor         text not null, -- the place of care
    amount           bigint not null,
    window_id        bigint not null,
    source_topic     text not null,
    source_partition int not null,
    seq              bigint,
    target           text,
    key              bytea,
    value            bytea,
    constraint obligation_key primary key (institution_id, claim_no, kind, revision),
    constraint obligation_relay unique (source_topic, source_partition, seq),
    constraint obligation_window foreign key (window_id) references crossregion.clearing_window,
    constraint obligation_kind check (kind in ('claim', 'reversal', 'account_use')),
    constraint obligation_part check (part between 0 and 1023),
    constraint obligation_sign check (case kind when 'reversal' then amount < 0 else amount > 0 end),
    constraint obligation_two_regions check (debtor <> creditor)
);

create index obligation_by_window on crossregion.obligation (window_id);

-- The net matrix of a closed window, and what it comes to for each region.

create table crossregion.net_position (
    window_id bigint not null,
    debtor    text not null,
    creditor  text not null,
    gross     bigint not null,
    claims    bigint not null, -- obligations it adds up, reversals among them
    constraint net_position_key primary key (window_id, debtor, creditor),
    constraint net_position_window foreign key (window_id) references crossregion.clearing_window,
    constraint net_position_two_regions check (debtor <> creditor),
    constraint net_position_claims check (claims > 0)
);

create table crossregion.net_region (
    window_id  bigint not null,
    region     text not null,
    receivable bigint not null,
    payable    bigint not null,
    net        bigint not null generated always as (receivable - payable) stored,
    constraint net_region_key primary key (window_id, region),
    constraint net_region_window foreign key (window_id) references crossregion.clearing_window
);
