"""I6, I8 and I11: every accepted claim reaches exactly one outcome, and each member's claims in order.

On a working system the end of the path is always in flight. A row counts as lost only when a later one of the same source and
partition has already passed the step that should have handled it (order is kept, so it was overtaken), or when nothing is left
on the way at all.
"""
# ruff: noqa: S608 - SQL put together from this package's own names

from services.ops.audit.check import SHOWN, Breach, Check, Finding, Joint, ask_together, key_of
from services.ops.audit.view import View
from shared.identity import event_id

_D = key_of("d")
_O = key_of("o")
_EVENT = """cross join lateral json_to_record(convert_from(o.value, 'utf8')::json)
    as e (institution_id text, claim_no text, kind text, number int, revision int)"""
# Of every event there is, only what stands before the member is parsed; of a question all, for its number (intake makes no
# revisions). Inside a JSON text a quote is escaped, so the first place that looks like the member's field is the field.
_HEAD = """cross join lateral (
    select (case when starts_with(said, '{"kind":"question",') then said
        else split_part(said, ',"member_id":', 1) || '}' end)::jsonb
    from convert_from(o.value, 'utf8') as said offset 0) as e (head)"""
_LOCATED = 100_000  # missing rows that are looked for in the outbox


def set_aside(alias: str, *services: str) -> str:
    """SQL: the claim is in quarantine at one of these services (held, or discarded by an operator)."""
    names = ", ".join(f"'{name}'" for name in services)
    key = f"length({alias}.institution_id) || ':' || {alias}.institution_id || ':' || {alias}.claim_no"
    kept = f"q.state <> 'redriven' and q.service in ({names}) and q.claim_key = {key}"
    return f"exists (select from runtime.quarantine q where {kept})"


_ACCEPTED = """
    select institution_id, claim_no, kind, 0 as number, part, member_id from intake.submission where not closed
    union all
    select institution_id, claim_no, 'reversal', 0, part, member_id from intake.submission where not closed and reversed
    union all
    select institution_id, claim_no, 'question', n, part, member_id
    from intake.submission cross join lateral generate_series(1, questions) as n where not closed and questions > 0
"""

_DECIDED = Check(
    "I6",
    "accepted_is_decided",
    "每笔受理的结算都有核算决定",
    "every accepted claim, reversal and repeat was decided",
    ("intake.submission", "adjudication.decision"),
)

_UNDECIDED = f"""
    select a.*, count(*) over () as total from ({_ACCEPTED}) as a
    left join adjudication.decision d
        on (d.institution_id, d.claim_no, d.kind, d.revision) = (a.institution_id, a.claim_no, a.kind, a.number)
    where d.kind is null and not {set_aside("a", "eligibility", "adjudication")}
    limit {_LOCATED}
"""

# Where the missing stand in intake's outbox, and how far what intake announced after them came.
_PLACED = """
    with missing as (
        select * from unnest($2::text[], $3::text[], $4::text[], $5::int[]) as m (institution_id, claim_no, kind, number)
    ), events as (
        select o.source_partition as source, o.part * {parts} / 1024 as partition, o.seq,
            e.* from intake.outgoing o {event} where o.target = 'claims.accepted' and o.event_id = any($1::text[])
    ), placed as (
        select m.*, e.source, e.partition, e.seq from missing m left join events e
            on (e.institution_id, e.claim_no, e.kind, coalesce(e.number, 0)) = (m.institution_id, m.claim_no, m.kind, m.number)
    ), later as (
        select o.source_partition as source, o.part * {parts} / 1024 as partition, o.seq, e.*
        from intake.outgoing o {event}
        join (select source, partition, min(seq) as seq from placed group by 1, 2) as f
            on f.source = o.source_partition and f.partition = o.part * {parts} / 1024 and o.seq > f.seq
        where o.target = 'claims.accepted'
    ), horizon as (
        select l.source, l.partition, max(l.seq) as seq from later l
        join adjudication.decision d on (d.institution_id, d.claim_no, d.kind, d.revision)
            = (l.institution_id, l.claim_no, l.kind, coalesce(l.number, l.revision, 0))
        group by 1, 2
    )
    select p.institution_id || '/' || p.claim_no || ' ' || p.kind
            || case when p.number > 0 then '#' || p.number else '' end as key,
        case when p.seq is null then 'accepted, and not in the outbox'
            else 'accepted as ' || p.source || '#' || p.seq || ', and never decided' end as what,
        (p.seq is null or p.seq < h.seq or p.partition = any($6::int[])) as due
    from placed p left join horizon h using (source, partition)
"""


async def _decided(view: View) -> Finding:
    missing = await view.connection.fetch(_UNDECIDED)
    finding = Finding(_DECIDED, rows=await view.rows(["intake.submission", "adjudication.decision"]))
    if not missing:
        return finding
    kinds = [row["kind"] for row in missing]
    keys = [(row["institution_id"], row["claim_no"]) for row in missing]
    # An event's id is that of the outcome it asks for, so a repeat's may be any of three.
    ids = {event_id(kind, *key) for key in keys for kind in ("claim", "account_use", "reversal")}
    found = await view.connection.fetch(
        _PLACED.replace("{parts}", str(view.partitions)).replace("{event}", _EVENT),
        list(ids),
        [key[0] for key in keys],
        [key[1] for key in keys],
        kinds,
        [row["number"] for row in missing],
        view.decided_all,
    )
    lost = sorted((row["key"], row["what"]) for row in found if row["due"])
    finding.total = len(lost)
    finding.breaches = [Breach(*one) for one in lost[:SHOWN]]
    finding.in_flight = missing[0]["total"] - len(lost)
    return finding


_QUARANTINED = Check(
    "I6",
    "quarantined_is_named",
    "隔离的记录逐一列明",
    "what is in quarantine, and so has no outcome yet, is named",
    ("runtime.quarantine",),
)


_SET_ASIDE = """
    select state, count(*) as n,
        (array_agg(coalesce(claim_key, topic || '/' || partition || '@' || record_offset) order by id))[1:5] as some
    from runtime.quarantine where state <> 'redriven' group by state order by state
"""


async def _quarantined(view: View) -> Finding:
    finding = Finding(_QUARANTINED, rows=await view.rows(["runtime.quarantine"]))
    rows = await view.connection.fetch(_SET_ASIDE)
    for row in rows:
        finding.notes.append(
            f"{row['state']}: {row['n']} ({', '.join(row['some'])}{', …' if row['n'] > len(row['some']) else ''})"
        )
    return finding


_IN_ORDER = Joint(
    (
        Check(
            "I8",
            "decisions_follow_the_log",
            "同一参保人按到达顺序核算",
            "a member's claims from one source are decided in the order in which they were accepted",
            ("intake.outgoing", "adjudication.decision"),
        ),
        Check(
            "I11",
            "accepted_under_its_id_and_member",
            "受理事件的标识与键与其内容一致",
            "every accepted event is kept and announced under its own id and the key of its member",
            ("intake.outgoing", "adjudication.decision"),
        ),
    ),
    f"""
    with accepted as materialized ( -- joined as a table is, by hashing, and not event by event
        select o.source_partition as source, o.seq, o.key, head->>'institution_id' as institution_id,
            head->>'claim_no' as claim_no, head->>'kind' as kind, coalesce(head->>'number', '0')::int as revision,
            head->>'event_id' <> o.event_id as renamed
        from intake.outgoing o {_HEAD} where o.target = 'claims.accepted'
    ), decided as (
        select d.institution_id, d.claim_no, d.kind, d.revision, e.source, e.seq as accepted_seq,
            lag(e.seq) over (partition by e.source, d.member_id order by d.ordinal) as earlier,
            e.renamed or e.key <> convert_to(d.member_id, 'utf8') as other
        from accepted e join adjudication.decision d using (institution_id, claim_no, kind, revision)
        where not exists (select from runtime.quarantine q where q.service in ('eligibility', 'adjudication')
                and q.claim_key = length(d.institution_id) || ':' || d.institution_id || ':' || d.claim_no)
    )
    select v.name, {_D} as key, v.what, true as due from decided d cross join lateral (values
        ('decisions_follow_the_log', d.earlier > d.accepted_seq,
            'accepted as ' || d.source || '#' || d.accepted_seq || ', decided after #' || d.earlier),
        ('accepted_under_its_id_and_member', d.other,
            'the event ' || d.source || '#' || d.accepted_seq || ' has another id or key in the outbox than it says')
    ) as v (name, wrong, what)
    where (d.earlier > d.accepted_seq or d.other) and v.wrong
    """,
)


async def path(view: View) -> list[Finding]:
    """All of them."""
    return [await _decided(view), await _quarantined(view), *await ask_together(view, _IN_ORDER)]
