"""I2, I5, I6, I8 and I11 where decisions meet what was accepted and what was answered: each join is made once, for all."""
# ruff: noqa: S608 - SQL put together from this package's own names

from typing import Final

from services.ops.audit.check import Check, Joint, family, key_of

_P, _D, _O = key_of("p"), key_of("d"), key_of("o")
_DECIDED: Final = (
    *("total", "own_paid", "over_limit", "pre_self_pay", "in_scope", "deductible"),
    *("pooled", "large_expense", "civil_servant", "veterans"),
)
_ANSWERED_O = ", ".join(f"o.{name}" for name in _DECIDED)
_SAID = """'decided ' || d.outcome || ' ' || d.total || ' (pooled ' || d.pooled || '), answered ' || o.outcome || ' '
    || o.total || ' (pooled ' || o.pooled || ')'"""
_KEY = "institution_id, claim_no, kind, revision"

_CHECKS: Final = (
    Check(
        "I2",
        "outcome_is_the_decision",
        "结算金额等于核算决定",
        "the amounts answered are the amounts decided",
        ("account.outcome", "adjudication.decision"),
    ),
    Check(
        "I5",
        "decided_on_the_first_content",
        "按首次提交内容核算",
        "each decision rests on the content its number is bound to, as it was accepted",
        ("adjudication.decision", "intake.submission"),
    ),
    Check(
        "I6",
        "decided_is_answered",
        "每个核算决定都有唯一结果",
        "every decision reached its outcome",
        ("adjudication.decision", "account.outcome"),
    ),
    Check(
        "I6",
        "outcome_has_its_claim",
        "每个结果都有受理和决定",
        "every outcome rests on a decision, every decision on an accepted claim",
        ("account.outcome", "adjudication.decision", "intake.submission"),
    ),
    Check(
        "I8",
        "outcomes_follow_decisions",
        "结果按核算顺序产生",
        "outcomes were made in the order of the decisions",
        ("adjudication.decision", "account.outcome"),
    ),
    Check(
        "I11",
        "announced_under_its_member",
        "决定与结果以参保人为键发布",
        "every decision and every outcome is announced under the key of its member",
        ("adjudication.decision", "account.outcome"),
    ),
)


def _strayed(announced: str) -> str:
    """SQL: a row's message has another key than its member, where it is announced."""
    return f"({announced} and key is distinct from convert_to(member_id, 'utf8'))"


# Decisions with their outcomes, and either without the other.
_PAIRS = f"""
    select {_KEY}, d.seq, o.seq as answer_seq, d.source_partition, o.source_partition as answer_partition,
        d.part * {{parts}} / 1024 as partition, d.kind is null as undecided, q.claim_key is not null as set_aside,
        o.kind is null and not coalesce(q.held, false) as unanswered,
        case when d.visited_on is not null and o.kind is not null and (kind <> 'claim' or revision = 0)
                and (d.outcome, {", ".join(f"d.{name}" for name in _DECIDED)}) is distinct from (o.outcome, {_ANSWERED_O})
            then {_SAID} end as differs,
        case when d.strayed then 'decided' when o.strayed then 'answered' end || ', and not announced under its member' as strayed
    from (select *, {_strayed("kind <> 'readjudication'")} as strayed from adjudication.decision) as d
    full join (select *, {_strayed("true")} as strayed from account.outcome) as o using ({_KEY})
    left join (
        select claim_key, bool_or(state <> 'redriven') as held from runtime.quarantine where service = 'account' group by 1
    ) as q on q.claim_key = length(institution_id) || ':' || institution_id || ':' || claim_no
    offset 0 -- the amounts are compared before anything is sorted
"""
# ``earlier``: the number of the outcome of the decision before.
_ORDERED = f"""
    select *, lag(answer_seq) over (partition by source_partition, answer_partition, set_aside order by seq) as earlier
    from ({_PAIRS}) as pairs
"""

# A further revision is answered with its differences.
_REVISED = f"""
    select 'outcome_is_the_decision' as name, {_D} as key, {_SAID} as what, true as due
    from adjudication.decision d join account.outcome o using ({_KEY})
    left join adjudication.decision b
        on (b.institution_id, b.claim_no, b.kind, b.revision) = (d.institution_id, d.claim_no, 'claim', d.revision - 1)
    where d.kind = 'claim' and d.revision > 0 and d.visited_on is not null
        and (d.outcome, {", ".join(f"d.{name} - coalesce(b.{name}, 0)" for name in _DECIDED)})
            is distinct from (o.outcome, {_ANSWERED_O})
"""

# Digest and instant as intake wrote them into the event: inside a JSON text a quote is escaped, so what looks like the field is
# the field. A further revision has the instant of its command. Only this piece of the bytes goes into the join: a join of many
# millions lies on disk.
_SAID_BOUND = """substr(value, position('","digest":"'::bytea in value) + 1, 200)"""
_BOUND = """',"digest":"' || encode(s.digest, 'hex') || case when d.revision = 0 then
    '","accepted_at":"' || to_char(s.accepted_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') else '' end || '"'"""
_ACCEPTED = f"""
    select v.name, {_D} as key, v.what, true as due
    from (
        select d.institution_id, d.claim_no, d.kind, d.revision,
            s.kind is null or s.closed or d.member_id <> s.member_id or case d.kind
                when 'reversal' then not s.reversed when 'question' then d.revision > s.questions
                else d.kind <> s.kind end as unfounded,
            d.kind not in ('reversal', 'question')
                and coalesce(position(convert_to({_BOUND}, 'utf8') in d.bound), 0) <> 1 as other
        from (select {_KEY}, member_id, {_SAID_BOUND} as bound from adjudication.decision offset 0) as d
        left join intake.submission s using (institution_id, claim_no)
        where d.kind <> 'readjudication' offset 0
    ) as d cross join lateral (values ('outcome_has_its_claim', unfounded, 'decided, and never accepted'),
        ('decided_on_the_first_content', other, 'the number is bound to other content, or another instant, than was decided on')
    ) as v (name, wrong, what)
    where (unfounded or other) and v.wrong
"""

_NUMBERED = f"""
    select 'outcomes_follow_decisions' as name, {_D} as key, 'its number is out of the order in which it was decided' as what,
        true as due
    from (select *, lag(seq) over (partition by source_partition, source_topic order by ordinal) as earlier
          from adjudication.decision) as d where d.earlier > d.seq
"""

JOINED = family(
    Joint(
        _CHECKS,
        f"""
        with found as materialized (
            select p.*, v.* from ({_ORDERED}) as p cross join lateral (values
                ('outcome_is_the_decision', differs),
                ('decided_is_answered', case when unanswered and kind not in ('question', 'readjudication')
                    then 'decided as ' || source_partition || '#' || seq || ', and never answered' end),
                ('outcome_has_its_claim', case when undecided and kind <> 'answer' then 'answered, and never decided' end),
                ('outcomes_follow_decisions', case when earlier > answer_seq and not set_aside
                    then 'decided as #' || seq || ', answered as #' || answer_seq || ' after #' || earlier end),
                ('announced_under_its_member', strayed)
            ) as v (name, what)
            where (differs is not null or undecided or unanswered or earlier > answer_seq or strayed is not null)
                and what is not null
        ), horizon as ( -- looked for only where something is missing
            select d.source_partition, d.part * {{parts}} / 1024 as partition, max(d.seq) as seq
            from adjudication.decision d join account.outcome o using ({_KEY})
            where exists (select from found where name = 'decided_is_answered') group by 1, 2
        )
        select p.name, {_P} as key, p.what, p.name <> 'decided_is_answered' or coalesce(p.seq < h.seq, false) or p.seq is null
            or p.partition = any($1::int[]) as due
        from found p left join horizon h using (source_partition, partition)
        union all {_REVISED} union all {_ACCEPTED} union all {_NUMBERED}
        """,
        lambda view: (view.answered_all,),
    )
)
