"""I17 and I11 on the tables: no silent drop (what was read is accounted for), and gapless numbers in every outbox."""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import Check, Query, family

OUTBOXES = (
    ("intake", "intake.outgoing"),
    ("adjudication", "adjudication.decision"),
    ("account", "account.outcome"),
    ("crossregion", "crossregion.obligation"),
)
_PLACE = "source_topic as topic, source_partition as partition"
_ONE_A_RECORD = {service: "" for service, _ in OUTBOXES} | {"adjudication": "filter (where kind <> 'claim' or revision = 0)"}
_FILED = " union all ".join(
    # A command and all revisions it makes are one record: the command's row stands for it.
    f"select '{service}' as service, {_PLACE}, count(*) {_ONE_A_RECORD[service]} as filed,"
    " count(*) filter (where target = 'claims.rejected') as refused,"
    f" 0 as poison from {table} group by 2, 3"
    for service, table in OUTBOXES
)
_NUMBERS = " union all ".join(
    f"select '{service}' as service, {_PLACE}, seq from {table} where seq is not null" for service, table in OUTBOXES
)
_LEASE = "l.service || ' ' || l.topic || '/' || l.partition"

# After `gongji lease adopt` the log began anew while the counts went on: the command's row says from where.
_SINCE = """
    coalesce((select (c.after->'records'->>(l.service || ' ' || l.topic || '/' || l.partition))::bigint
              from runtime.command_log c where c.command = 'lease adopt' order by c.id desc limit 1), 0)
"""

_READ = Query(
    Check(
        "I17",
        "records_are_accounted_for",
        "读入 = 已决 + 重复 + 拒绝 + 隔离",
        "records read = decided + repeated + rejected + quarantined = what the log holds up to there",
        ("runtime.lease",),
    ),
    f"""
    select {_LEASE} as key, l.records || ' read, ' || (l.decided + l.repeated + l.rejected + l.quarantined) || ' accounted for, '
        || (l.records - {_SINCE}) || ' of the ' || l.next_offset || ' offsets of the log' as what
    from runtime.lease l
    where l.records <> l.decided + l.repeated + l.rejected + l.quarantined
        or l.records - {_SINCE} > l.next_offset
        -- Only outsiders write in transactions, whose marks take offsets.
        or (l.topic <> 'claims.submitted' and l.topic not like 'register.%' and l.records - {_SINCE} <> l.next_offset)
    """,
)

_ROWS = Query(
    Check(
        "I17",
        "decided_is_in_the_tables",
        "计数等于表中行数",
        "what the leases count as decided, rejected and quarantined is in the tables",
        ("runtime.lease", "runtime.quarantine", *(table for _, table in OUTBOXES)),
    ),
    f"""
    with kept as (
        select service, topic, partition, sum(filed) as filed, sum(refused) as refused, sum(poison) as poison from (
            {_FILED}
            union all select service, topic, partition, 0, 0, count(*) from runtime.quarantine group by 1, 2, 3
        ) as tables group by 1, 2, 3
    )
    select {_LEASE} as key, 'counts ' || l.decided || ' decided, ' || l.rejected || ' rejected, ' || l.quarantined
        || ' quarantined; the tables have ' || coalesce(k.filed - k.refused, 0) || ', ' || coalesce(k.refused, 0) || ', '
        || coalesce(k.poison, 0) as what
    from runtime.lease l left join kept k using (service, topic, partition)
    where l.quarantined <> coalesce(k.poison, 0)
        or (l.topic in ('claims.submitted', 'claims.eligible', 'claims.adjudicated', 'claims.settled')
            and (l.decided, l.rejected)
                is distinct from (coalesce(k.filed - k.refused, 0)::bigint, coalesce(k.refused, 0)::bigint))
    """,
)

_NUMBERED = Query(
    Check(
        "I11",
        "outbox_is_gapless",
        "待发布编号连续无缺",
        "the numbers of every outbox run from 1 to what the lease gave out, without a gap",
        ("runtime.lease", "runtime.quarantine", *(table for _, table in OUTBOXES)),
    ),
    f"""
    with numbers as (
        {_NUMBERS}
        union all select service, topic, partition, seq from runtime.quarantine
    ), counted as (
        select service, topic, partition, count(distinct seq) as n, count(*) as rows, min(seq) as first, max(seq) as last
        from numbers group by partition, service, topic -- numbers are compared faster than names
    )
    select service || ' ' || topic || '/' || partition as key,
        coalesce(l.out_seq || ' numbers were given out', 'there is no lease') || ', the tables have '
        || coalesce(c.n, 0) || ' from ' || coalesce(c.first, 0) || ' to ' || coalesce(c.last, 0) as what
    from runtime.lease l full join counted c using (service, topic, partition)
    where l.out_seq is null or l.out_seq <> coalesce(c.n, 0) or c.rows <> c.n or c.first <> 1 or c.last <> l.out_seq
    """,
)

COUNTS = family(_READ, _ROWS, _NUMBERED)
