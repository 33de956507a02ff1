"""I9, I19 and I20: what guards the books is there, who commanded what is written down, and the law was in force."""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import Check, Query, family

SCHEMAS = "'runtime', 'intake', 'eligibility', 'adjudication', 'account', 'crossregion'"
_APPEND_ONLY = ", ".join(
    f"('account.{name}')"
    for name in (
        *("journal", "posting", "crediting", "closing", "block", "day_root", "day_root_announced"),
        *("payment_run", "payment_item", "payment", "retention_release"),
        *("opening", "settling", "window_payment", "repayment"),
    )
)

_TRIGGERS = Query(
    Check(
        "I9",
        "append_only_is_guarded",
        "凭证、分录、封存与拨付只增不改",
        "what is booked, sealed or paid cannot be changed, not even by the owner: the trigger is on",
        (),
    ),
    f"""
    with guarded (name) as (values {_APPEND_ONLY})
    select g.name as key, 'its append-only trigger is missing or switched off' as what from guarded g
    where not exists (
        select from pg_trigger t join pg_proc p on p.oid = t.tgfoid
        where t.tgrelid = g.name::regclass and p.proname = 'append_only' and t.tgenabled in ('O', 'A')
            and t.tgtype & 2 <> 0 and t.tgtype & 8 <> 0 and t.tgtype & 16 <> 0 and t.tgtype & 32 <> 0)
    """,
)

_ROLES = Query(
    Check(
        "I9",
        "roles_are_least",
        "角色权限最小",
        "neither services nor ops delete or put triggers on tables; neither is the owner or a superuser",
        (),
    ),
    f"""
    select c.oid::regclass::text as key, r.rolname || ' may ' || p.privilege as what
    from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname in ({SCHEMAS})
    cross join pg_roles r cross join (values ('delete'), ('truncate'), ('trigger')) as p (privilege)
    where c.relkind in ('r', 'p') and r.rolname in ('gongji_service', 'gongji_ops')
        and has_table_privilege(r.oid, c.oid, p.privilege)
    union all
    select rolname, 'is a superuser or owns the books' from pg_roles
    where rolname in ('gongji_service', 'gongji_ops')
        and (rolsuper or oid in (select nspowner from pg_namespace where nspname in ({SCHEMAS})))
    """,
)

_COMMANDS = Query(
    Check(
        "I19",
        "commands_are_written_down",
        "每项特权操作有审计记录",
        "whatever an operator did to dead letters, a person's year, clearing windows or keys, who and why is in the log",
        ("runtime.quarantine", "adjudication.decision", "crossregion.clearing_window", "intake.api_key", "runtime.command_log"),
    ),
    """
    select 'quarantine ' || q.id as key, q.state || ', and no command of an operator says so' as what
    from runtime.quarantine q
    where q.state in ('redriven', 'discarded') and not exists (
        select from runtime.command_log c where c.after->'ids' @> to_jsonb(q.id) and c.reason <> '' and c.who <> ''
            and c.command = case q.state when 'redriven' then 'dead redrive' else 'dead discard' end)
    union all
    select d.claim_no || ' readjudication', 'worked out again, and no command of an operator says so'
    from adjudication.decision d where d.kind = 'readjudication' and not exists (
        select from runtime.command_log c where c.id = d.revision and c.command = 'claim readjudicate'
            and c.after->'member_id' = to_jsonb(d.member_id))
    union all
    select 'window ' || w.window_id, 'closed, and no command of an operator says so'
    from crossregion.clearing_window w where w.closed_at is not null and not exists (
        select from runtime.command_log c where c.command = 'clearing close' and c.after->'window' = to_jsonb(w.window_id))
    union all
    select 'key ' || k.key_id, a.what || ', and no command of an operator says so' from intake.api_key k
    cross join lateral (values ('made', 'institution key create'),
        (case when k.revoked_at is not null then 'revoked' end, 'institution key revoke')) as a (what, command)
    where a.what is not null and not exists (
        select from runtime.command_log c where c.command = a.command and c.after->'key_id' = to_jsonb(k.key_id)
            and c.after->'institution_id' = to_jsonb(k.institution_id))
    union all
    select 'key ' || (c.after->>'key_id'),
        'was revoked by command, and is ' || case when k.key_id is null then 'gone' else 'in force' end
    from runtime.command_log c left join intake.api_key k on k.key_id = c.after->>'key_id'
    where c.command = 'institution key revoke' and k.revoked_at is null
    union all
    select 'quarantine ' || id, state || case when closed_at is null then ', and not closed' else ', and closed' end
    from runtime.quarantine where (state = 'held') <> (closed_at is null)
    union all
    select 'command ' || id, 'without who or why' from runtime.command_log where who = '' or reason = ''
    """,
)

_CLUSTER = Query(
    Check(
        "I19",
        "leases_belong_to_the_deployment",
        "各租约属于本部署的集群",
        "every lease belongs to the Kafka cluster of the deployment, and its topics have its number of partitions",
        ("runtime.lease", "runtime.deployment"),
    ),
    """
    select l.service || ' ' || l.topic || '/' || l.partition as key, 'belongs to Kafka cluster ' || l.cluster_id as what
    from runtime.lease l cross join runtime.deployment d where l.cluster_id <> d.cluster_id
    union all
    select 'deployment', 'has ' || d.partitions || ' partitions, ' || t.name || ' has ' || t.partitions
    from runtime.deployment d cross join unnest($1::text[], $2::int[]) as t (name, partitions) where t.partitions <> d.partitions
    """,
    lambda view: (list(view.topics_have), list(view.topics_have.values())),
)

_PACKS = Query(
    Check(
        "I20",
        "packs_are_what_their_hash_says",
        "政策包与其哈希一致",
        "each stored pack is what its hash says",
        ("adjudication.pack",),
    ),
    """
    select hash as key, 'the content has another hash' as what from adjudication.pack
    where encode(sha256(content), 'hex') <> hash
    union all
    select hash, 'the content is of ' || said.region || ' ' || said.version || ', the table says ' || p.region || ' ' || p.version
    from adjudication.pack p cross join lateral (select convert_from(content, 'utf8')::jsonb as pack) as c
    cross join lateral (select c.pack->>'region' as region, c.pack->'rules'->>'version' as version) as said
    where (said.region, said.version) is distinct from (p.region, p.version)
    """,
)
# Of the first decision on a claim alone: revisions keep its place.
_LATEST_FIRST = "(d.kind = 'claim' and d.revision = 0 and coalesce(d.outcome = 'settled' and p.latest_first, false))"

_IN_FORCE = Query(
    Check(
        "I20",
        "policy_was_in_force",
        "按就诊日有效政策结算",
        "each claim was decided under a stored pack of its region that was in force on the day of the visit, and is noted to be"
        " reversed before earlier ones where that pack says so",
        ("adjudication.decision", "adjudication.pack"),
    ),
    f"""
    with packs as materialized (
        select hash, region, (rules->>'from')::date as first, coalesce((rules->>'to')::date, 'infinity') as last,
            coalesce(rules->'benefits'->'reversal'->>'rule' = 'latest_first', false) as latest_first
        from adjudication.pack cross join lateral (select convert_from(content, 'utf8')::jsonb->'rules' as rules) as r
    )
    select d.institution_id || '/' || d.claim_no || ' ' || d.kind as key,
        case when d.latest_first <> {_LATEST_FIRST} then 'the latest first to be reversed: '
                || d.latest_first || ' in the table, by its pack ' || {_LATEST_FIRST}
            when d.pack_hash is null then 'settled without a policy'
            when p.hash is null then 'its pack is not stored'
            else 'visited on ' || d.visited_on || ', the pack holds from ' || p.first || ' to ' || p.last end as what
    from adjudication.decision d left join packs p on p.hash = d.pack_hash
    where d.visited_on is not null and d.outcome in ('settled', 'reversed')
        and (d.pack_hash is not null or (d.outcome = 'settled' and d.kind = 'claim'))
        and (p.hash is null or d.visited_on not between p.first and p.last)
        or d.latest_first <> {_LATEST_FIRST}
    """,
)

GUARDS = family(_TRIGGERS, _ROLES, _COMMANDS, _CLUSTER, _PACKS, _IN_FORCE)
