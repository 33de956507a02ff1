-- Adjudication: a city's deductibles and limits count what its own funds saw (Q39), so accumulators run over a city's period:
-- '420300:2023' instead of '2023', and '653100:2023-05-10@H1' for a visit.

create temporary table whose on commit drop as
select d.member_id, min(p.region) as region, count(distinct p.region) as regions
from adjudication.decision d join adjudication.pack p on p.hash = d.pack_hash group by d.member_id;

-- Rows that were opened and never booked say nothing.
delete from adjudication.counter where version = 0;

update adjudication.counter c set period = w.region || ':' || c.period
from whose w where w.member_id = c.member_id and w.regions = 1;

-- Who was insured in several cities has rows that mixed them. Each city's are made again of what its decisions took: a claim's
-- last revision, and what its reversal gave back. No ceiling is known of them until the next claim applies one.
delete from adjudication.counter c using whose w where w.member_id = c.member_id and w.regions > 1;

insert into adjudication.counter (member_id, period, name, part, used, ceiling, version)
with moved as (
    select d.member_id, d.part, d.revision, took.name,
        p.region || ':' || case when took.name like 'visit.%'
            then to_char(d.visited_on, 'YYYY-MM-DD') || '@' || d.institution_id else d.period end as period,
        took.after::bigint - coalesce(said.decision->'before'->>took.name, '0')::bigint as amount,
        d.revision = max(d.revision) over (partition by d.institution_id, d.claim_no, d.kind) as last
    from adjudication.decision d
    join whose w on w.member_id = d.member_id and w.regions > 1
    join adjudication.pack p on p.hash = d.pack_hash
    cross join lateral (select convert_from(d.value, 'utf8')::jsonb->'decision' as decision) as said
    cross join lateral jsonb_each_text(said.decision->'after') as took (name, after)
    where d.kind in ('claim', 'reversal')
)
select member_id, period, name, min(part), sum(amount) filter (where last), null,
    count(*) filter (where revision = 0 and amount <> 0)
from moved group by member_id, period, name having count(*) filter (where revision = 0 and amount <> 0) > 0;

-- A service of an older version, still at work, is stopped by this: it would go on counting under the old names.
alter table adjudication.counter add constraint counter_period check (period like '%:%');
