-- Account: revisions of claims, what is owed to and by members, and what an operator settled. Money is fen.

-- A further revision has differences: of the total nothing, so some amounts are above and some below zero.
alter table account.outcome
    add column payee text not null default '', -- member: what funds and accounts pay goes to the person
    add constraint outcome_payee check (payee in ('', 'member')),
    drop constraint outcome_sign,
    add constraint outcome_sign check (
        case
            when revision > 0 and kind = 'claim' then outcome = 'settled' and total = 0
            when outcome = 'settled' then least(own_paid, over_limit, pre_self_pay, in_scope,
                pooled, large_expense, civil_servant, veterans, account, family_account, cash) >= 0
            when outcome = 'reversed' then greatest(own_paid, over_limit, pre_self_pay, in_scope,
                pooled, large_expense, civil_servant, veterans, account, family_account, cash) <= 0
            else total = 0 and journal_id is null
        end
    );

alter table account.journal
    drop constraint journal_kind,
    add constraint journal_kind check (
        kind in ('claim', 'reversal', 'account_use', 'credit', 'crediting', 'closing', 'payment', 'release', 'settling')
    );

-- What is owed to and by members is rare among the postings, so these indexes are small.
create index posting_from_member on account.posting (debit) where debit like 'member:%';
create index posting_to_member on account.posting (credit) where credit like 'member:%';

-- Statements of personal accounts go by these; funds, institutions and regions, which every claim touches, have none.
create index posting_from_account on account.posting (debit) where debit like 'personal:%';
create index posting_to_account on account.posting (credit) where credit like 'personal:%';

-- What an operator settled: a posting of the work list, or (no item) all that was open between a region and a member.
create table account.settling (
    journal_id   bigint      not null, -- of the settlement
    member_id    text        not null,
    region       text        not null,
    part         int         not null,
    item_journal bigint,               -- the work list's posting
    item_line    smallint,
    amount       bigint      not null, -- to the member; below zero: from him
    who          text        not null,
    reason       text        not null,
    settled_at   timestamptz not null default now(),
    constraint settling_key primary key (journal_id),
    constraint settling_item_once unique (item_journal, item_line),
    constraint settling_item foreign key (item_journal, item_line) references account.worklist,
    constraint settling_item_whole check ((item_journal is null) = (item_line is null)),
    constraint settling_part check (part between 0 and 1023),
    constraint settling_amount check (amount <> 0),
    constraint settling_said check (who <> '' and reason <> '')
);
create trigger settling_append_only before update or delete or truncate on account.settling
    for each statement execute function account.append_only();
