-- Adjudication: a member's year worked out again.

-- A command is a row of its own, before the revisions it made: inbox, and grounds of what it came to.
alter table adjudication.decision
    drop constraint decision_kind,
    add constraint decision_kind check (kind in ('claim', 'reversal', 'account_use', 'question', 'readjudication'));

create index decision_of_member on adjudication.decision (member_id, ordinal);
