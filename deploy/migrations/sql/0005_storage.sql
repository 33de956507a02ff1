-- How rows lie on the disk; nothing of what they say.

-- Decisions with their grounds are about the size from which Postgres compresses; its own method takes longer than the insert.
do $$
begin
    alter table adjudication.decision alter column value set compression lz4;
    alter table account.outcome alter column value set compression lz4;
    alter table intake.outgoing alter column value set compression lz4;
exception when feature_not_supported then
    raise notice 'this Postgres was built without lz4: values are compressed by pglz, slower';
end
$$;

-- An accumulator is opened as zero, locked and moved in one transaction: room on its page keeps the versions there, and the
-- index, which no change touches, needs no new entries.
alter table adjudication.counter set (fillfactor = 60);
alter table account.balance set (fillfactor = 70);
