"""I9: what the tables themselves refuse. Nobody may change what has no state, and what refuses it is in place and as it was made.

A later migration that adds a table, a constraint or a grant says so here: on new books these checks are clean, or a test fails.
"""
# ruff: noqa: S608 - SQL put together from this package's own names

from typing import Final

from services.ops.audit.check import Check, Query, family
from services.ops.audit.guards import SCHEMAS

_BOOKS: Final = f"n.nspname in ({SCHEMAS})"
# What services change of rows that are there; to everything else they only add. The key of an institution is the owner's.
_CHANGE: Final = (
    *("account.balance", "account.credit_run", "adjudication.counter", "crossregion.clearing_window", "intake.submission"),
    *("runtime.deployment", "runtime.lease"),
    *("eligibility.catalogue_item", "eligibility.family_link", "eligibility.inpatient_stay", "eligibility.institution"),
    *("eligibility.member", "eligibility.remote_filing"),
)
_CHANGE_IN_PART: Final = (
    *(("runtime.quarantine", name) for name in ("record_offset", "state", "closed_at", "closed_why")),
    ("runtime.command_log", "after"),
)
CONSTRAINTS: Final = {
    "account.balance": "balance_closed_is_empty balance_key balance_not_negative balance_part",
    "account.block": "block_algorithm block_chain block_key block_order block_whole",
    "account.closing": "closing_amount closing_disposal closing_journal closing_key closing_part",
    "account.credit": "credit_amount credit_journal credit_key credit_part",
    "account.credit_run": "credit_run_key credit_run_kind credit_run_monthly credit_run_months credit_run_once",
    "account.crediting": "crediting_interest crediting_key crediting_late crediting_part crediting_recoverable"
    " crediting_says_something crediting_source crediting_title",
    "account.day_root": "day_root_blocks day_root_closed_once day_root_key",
    "account.day_root_announced": "day_root_announced_key day_root_announced_root",
    "account.journal": "journal_corrects_another journal_key journal_kind journal_once journal_part",
    "account.opening": "opening_amount opening_key opening_part",
    "account.outcome": "outcome_cost_adds_up outcome_family_payer outcome_journal outcome_key outcome_kind outcome_part"
    " outcome_payee outcome_payment_adds_up outcome_relay outcome_sign outcome_word",
    "account.payment": "payment_adds_up payment_journal payment_key payment_not_negative payment_run_of",
    "account.payment_item": "payment_item_key payment_item_part payment_item_run payment_item_share",
    "account.payment_run": "payment_run_key payment_run_month payment_run_rule",
    "account.posting": "posting_amount_positive posting_key posting_two_accounts",
    "account.repayment": "repayment_amount repayment_key repayment_of",
    "account.retention_release": "retention_release_adds_up retention_release_key retention_release_result",
    "account.settling": "settling_amount settling_item settling_item_once settling_item_whole settling_key settling_part"
    " settling_said",
    "account.window_payment": "window_payment_journal window_payment_key window_payment_two_regions",
    "account.worklist": "worklist_amount worklist_key worklist_kind worklist_part",
    "adjudication.counter": "counter_ceiling counter_part counter_period counter_pkey counter_used",
    "adjudication.decision": "decision_deductible decision_funds decision_kind decision_outcome decision_part decision_parts"
    " decision_pkey decision_rejected_books_nothing decision_seq decision_signs",
    "adjudication.pack": "pack_pkey",
    "crossregion.clearing_window": "clearing_window_announced_after_closed clearing_window_closed_after_opened"
    " clearing_window_key clearing_window_one_open",
    "crossregion.net_position": "net_position_claims net_position_key net_position_two_regions net_position_window",
    "crossregion.net_region": "net_region_key net_region_window",
    "crossregion.obligation": "obligation_key obligation_kind obligation_part obligation_relay obligation_sign"
    " obligation_two_regions obligation_window",
    "eligibility.catalogue_item": "catalogue_item_category_known catalogue_item_pk catalogue_item_price_limit_not_negative"
    " catalogue_item_ratio_is_a_share",
    "eligibility.family_link": "family_link_pk family_link_relation_known",
    "eligibility.inpatient_stay": "inpatient_stay_pk",
    "eligibility.institution": "institution_kind_known institution_level_known institution_pk",
    "eligibility.member": "member_contribution_base_not_negative member_employment_known member_pk member_sector_known"
    " member_status_known",
    "eligibility.remote_filing": "remote_filing_kind_known remote_filing_pk",
    "intake.api_key": "api_key_digest api_key_order api_key_pk",
    "intake.outgoing": "outgoing_part outgoing_pk outgoing_target",
    "intake.rejection": "rejection_part rejection_pk",
    "intake.submission": "submission_accepted submission_closed submission_digest submission_kind submission_part submission_pk"
    " submission_questions submission_whole",
    "runtime.command_log": "command_log_pk",
    "runtime.deployment": "deployment_one deployment_partitions deployment_pk",
    "runtime.lease": "lease_next_offset lease_no_silent_drop lease_pk lease_projected lease_relayed",
    "runtime.quarantine": "quarantine_pk quarantine_place quarantine_seq quarantine_state",
}

_GRANTS = Query(
    Check(
        "I9",
        "only_what_has_a_state_is_changed",
        "只有状态列可被服务修改，其余角色只读",
        "services change what has a state, ops and whoever else nothing; nobody but services reads the digests of keys",
        (),
    ),
    f"""
    with books as (
        select c.oid, c.oid::regclass::text as name, c.relowner, c.relacl, a.attnum, a.attname, a.attacl
        from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
        where {_BOOKS} and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
    ), role as (
        select oid, rolname from pg_roles where rolname in ('gongji_service', 'gongji_ops')
    )
    -- By whatever way: a grant of its own, one of a role it is in, one to everybody; of the table or of the column.
    select b.name as key, r.rolname || ' may update '
        || case when count(*) > 4 then count(*) || ' columns' else string_agg(b.attname, ', ' order by b.attnum) end as what
    from books b cross join role r
    where has_column_privilege(r.oid, b.oid, b.attnum, 'update') and (r.rolname = 'gongji_ops'
        or b.name <> all($1::text[]) and b.name || '.' || b.attname <> all($2::text[]))
    group by b.name, r.rolname
    union all
    select distinct b.name, r.rolname || ' may insert' from books b cross join role r
    where has_column_privilege(r.oid, b.oid, b.attnum, 'insert') and (r.rolname = 'gongji_ops' or b.name = 'intake.api_key')
    union all
    select b.name, r.rolname || ' may read the digests of keys' from books b cross join role r
    where b.name = 'intake.api_key' and b.attname = 'digest' and r.rolname = 'gongji_ops'
        and has_column_privilege(r.oid, b.oid, b.attnum, 'select')
    union all
    select distinct b.name, lower(g.privilege_type) || ' is granted to ' || coalesce(o.rolname, 'everybody')
    from books b cross join lateral (select * from aclexplode(b.relacl) union all select * from aclexplode(b.attacl)) as g
    left join pg_roles o on o.oid = g.grantee
    where g.grantee <> b.relowner and g.privilege_type <> 'SELECT' and g.grantee not in (select oid from role)
    union all
    select c.oid::regclass::text, r.rolname || ' may set or use its numbers'
    from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join role r
    where {_BOOKS} and c.relkind = 'S' and (has_sequence_privilege(r.oid, c.oid, 'update')
        or r.rolname = 'gongji_ops' and has_sequence_privilege(r.oid, c.oid, 'usage'))
    union all
    select n.nspname, coalesce(o.rolname, 'everybody') || ' may make tables and functions in it'
    from pg_namespace n cross join lateral aclexplode(n.nspacl) as g left join pg_roles o on o.oid = g.grantee
    where {_BOOKS} and g.privilege_type = 'CREATE' and g.grantee <> n.nspowner
    """,
    lambda _: (list(_CHANGE), [f"{table}.{column}" for table, column in _CHANGE_IN_PART]),
)

_CONSTRAINED = Query(
    Check(
        "I9",
        "tables_have_their_constraints",
        "表约束俱在",
        "every CHECK, key and reference that the tables were made with is there, and was looked for in all rows",
        (),
    ),
    f"""
    with there as (
        select conrelid as relation, conname as name, convalidated as whole
        from pg_constraint where contype in ('c', 'p', 'u', 'f')
        union
        select x.indrelid, i.relname, x.indisvalid from pg_index x join pg_class i on i.oid = x.indexrelid where x.indisunique
    ), named as (
        select c.oid::regclass::text as name, t.name as constraint_name, t.whole
        from there t join pg_class c on c.oid = t.relation join pg_namespace n on n.oid = c.relnamespace where {_BOOKS}
    )
    select e.name as key, e.constraint_name || case when bool_or(d.name is null) then ' is missing'
        else ' was never looked for in rows that were there' end as what
    from unnest($1::text[], $2::text[]) as e (name, constraint_name) left join named d using (name, constraint_name)
    group by e.name, e.constraint_name having bool_or(d.name is null or not d.whole)
    """,
    lambda _: tuple(zip(*((table, name) for table, names in CONSTRAINTS.items() for name in names.split()), strict=True)),
)

_ACTED_ON = Query(
    Check(
        "I9",
        "nothing_else_acts_on_tables",
        "表上无其他触发器或规则，只增不改的触发器如初",
        "no trigger, rule or policy but the append-only guard stands on a table, and the guard still refuses",
        (),
    ),
    f"""
    with books as (
        select c.oid, c.oid::regclass::text as name, c.relrowsecurity
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where {_BOOKS} and c.relkind in ('r', 'p')
    )
    select b.name as key, 'trigger ' || t.tgname || ' is none of its own' as what
    from books b join pg_trigger t on t.tgrelid = b.oid and not t.tgisinternal
    where t.tgfoid is distinct from to_regproc('account.append_only') or t.tgqual is not null
    union all
    select distinct b.name, 'its references are switched off'
    from books b join pg_trigger t on t.tgrelid = b.oid and t.tgisinternal where t.tgenabled not in ('O', 'A')
    union all
    select b.name, 'rule ' || r.rulename || ' is none of its own' from books b join pg_rewrite r on r.ev_class = b.oid
    union all
    select name, 'rows are hidden from some by policies' from books where relrowsecurity
    union all
    select 'account.append_only', 'the function no longer refuses'
    where not exists (select from pg_proc p where p.oid = to_regproc('account.append_only')
        and regexp_replace(p.prosrc, '\\s+', ' ', 'g')
            like ' begin raise exception % using errcode = ''restrict_violation''; end ')
    """,
)

TABLES = family(_GRANTS, _CONSTRAINED, _ACTED_ON)
"""The checks of what guards rows that are there."""
