-- Account: what a supplement gives a member's account besides the month's credit, by a title of its own.

alter table account.crediting
    add column title text not null default '', -- the supplement; of the month's own credit none
    drop constraint crediting_key,
    add constraint crediting_key primary key (member_id, region, month, run_id, title),
    drop constraint crediting_source,
    add constraint crediting_source check (source in ('contributions', 'pooled', 'civil_servant')),
    add constraint crediting_title check ((title = 'civil_servant' and source = 'civil_servant') or (title = '' and source <> 'civil_servant'));
