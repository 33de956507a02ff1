-- How much ANALYZE looks at; nothing of what the tables say.
--
-- What a batch asks goes by keys whatever statistics say, and audits read whole tables. By default ANALYZE sorts every column of
-- 30,000 rows, which is seconds of a processor on tables of forty columns, several times in their first hour: claims waited.
do $$
declare
    kept record;
begin
    for kept in
        select a.attrelid::regclass as relation, a.attname as name
        from pg_attribute a
        join pg_class c on c.oid = a.attrelid and c.relkind = 'r'
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname in ('intake', 'eligibility', 'adjudication', 'account', 'crossregion', 'runtime')
            and a.attnum > 0 and not a.attisdropped
    loop
        execute format('alter table %s alter column %I set statistics 10', kept.relation, kept.name);
    end loop;
end
$$;
