"""Every invariant's check catches a planted breach: in a copy of a settled day one thing is made wrong, and the audit names it.

``must`` are the checks that have to speak, and the first of them has to name the key; ``may`` those that the same plant cannot
help touching. No other may speak.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import psycopg
import pytest
import redis
from deployment import deployment, until
from servers import LocalServers

from services.audit_grounds import GROUNDS
from services.audit_seal import SEAL
from services.ops.audit import lanes
from services.ops.audit.run import Report, audit
from services.ops.generate import generate
from shared.runtime.settings import Settings

pytestmark = pytest.mark.servers

CLAIMS = 500
REGIONS = ("130900", "440800", "511900", "653100", "420300")
SEALED = "select (select max(last_journal) from account.block) = (select max(journal_id) from account.posting)"
BROKEN = b'{"type": "claim", '
STRANGERS = ("H\\u0000", "H\0", "医" * 70)  # institutions of rejected records; the first is an id, and holds no NUL


@pytest.fixture(scope="module")
def settled(private_servers: LocalServers) -> Iterator[Settings]:
    """A day of all cities, with repeats, conflicts, reversals, a dead letter; a window closed and paid; nobody at work now."""
    lines = [line for line in generate(CLAIMS, 150, REGIONS, 3) if isinstance(line, dict)]
    with deployment(private_servers) as running:
        running.start()
        running.register(lines)
        running.send([line for line in lines if line["type"] in ("claim", "reversal", "account_use")])
        running.send([BROKEN, json.dumps(next(bill for bill in lines if bill["type"] == "claim") | {"doctor_id": "D9"}).encode()])
        running.send([{"type": "claim", "claim_no": "S", "institution_id": stranger} for stranger in STRANGERS])
        running.drain()
        closed = running.command("clearing", "close", "--reason", "month", "--json")
        assert closed.returncode == 0, closed.stderr
        cleared = running.command("fund", "clear", "--window", str(json.loads(closed.stdout)["window"]), "--reason", "month")
        assert cleared.returncode == 0, cleared.stderr
        until(lambda: running.rows(SEALED) == [(True,)], "the ledger to be sealed")
        assert running.command("ledger", "seal").returncode == 0  # and its root published
    with pytest.MonkeyPatch.context() as environment:
        for name, value in running.environment.items():
            environment.setenv(name, value)
        yield Settings.load()


def look(settings: Settings, *, topics: bool) -> Report:
    return asyncio.run(audit(settings, (GROUNDS, SEAL), topics=topics))


def breached(report: Report) -> dict[str, list[str]]:
    return {f.check.name: [f"{key}: {what}" for key, what in f.breaches] for f in report.findings if f.total}


class Plant(NamedTuple):
    """One breach: statements of the owner of the books (the last returns the key), and who must notice."""

    name: str
    must: tuple[str, ...]
    statements: tuple[str, ...]
    may: tuple[str, ...] = ()
    topics: bool = False


def text(table: str, old: str, new: str) -> str:
    """SQL: the bytes of a row with one text replaced."""
    return f"update {table} set value = convert_to(replace(convert_from(value, 'utf8'), {old}, {new}), 'utf8')"


def one(table: str, condition: str, alias: str = "t") -> str:
    """SQL: picks one row. Which one depends on the batches of the day, so ``may`` holds for every row it can be."""
    return f"{table}.ctid = (select {alias}.ctid from {table} {alias} where {condition} order by {alias}.ctid limit 1)"


def unguarded(*statements: str) -> tuple[str, ...]:
    """With the append-only triggers off meanwhile, as a superuser can."""
    tables = ("account.journal", "account.posting", "account.window_payment", "account.day_root", "account.day_root_announced")
    key, rest = statements[-1], statements[:-1]
    off = tuple(f"alter table {table} disable trigger user" for table in tables)
    on = tuple(f"alter table {table} enable trigger user" for table in tables)
    return (*off, *rest, *on, key)


KEY = "institution_id || '/' || claim_no"
EVENT = "convert_from(value, 'utf8')::json"
EVENT_KEY = f"({EVENT}->>'institution_id') || '/' || ({EVENT}->>'claim_no')"
ACCEPTED = "t.target = 'claims.accepted' and convert_from(t.value, 'utf8') like '{\"kind\":\"claim\"%'"
AT_HOME = "t.insured_region = t.care_region"
STANDING = (
    "not exists (select from account.outcome r"
    " where (r.institution_id, r.claim_no, r.kind) = (t.institution_id, t.claim_no, 'reversal'))"
)
PAID = f"t.kind = 'claim' and t.pooled > 0 and t.account = 0 and t.family_account = 0 and {AT_HOME} and {STANDING}"
ANSWER = "t.kind = 'answer'"
FIRST_PAID = (
    "create temp table chosen as select window_id, debtor, creditor from account.window_payment where amount > 1"
    " order by 1, 2, 3 limit 1"
)
REVERSED = "t.kind = 'reversal' and t.outcome = 'reversed' and t.pooled < 0"

PLANTS = (
    Plant(
        "a posting off by a fen",
        ("outcome_equals_postings", "sealed_is_unchanged"),
        unguarded(
            "create temp table chosen as select * from account.outcome t where " + PAID + " order by journal_id limit 1",
            "update account.posting p set amount = p.amount + 1 from chosen c where p.journal_id = c.journal_id and p.line = 1",
            f"select {KEY} from chosen",
        ),
    ),
    Plant(
        "a balance off by a fen",
        ("balances_rebuilt",),
        (f"update account.balance set balance = balance + 1 where {one('account.balance', 'true')} returning member_id",),
    ),
    Plant(
        "a balance nobody posted to",
        ("balances_rebuilt",),
        ("insert into account.balance (member_id, part, balance) values ('nobody', 1, 5) returning member_id",),
    ),
    Plant(
        "a credit off by a fen",
        ("credit_equals_postings",),
        (f"update account.credit set amount = amount + 1 where {one('account.credit', 'amount > 0')} returning member_id",),
    ),
    Plant(
        "a journal of nothing",
        ("every_journal_has_its_reason",),
        (
            (
                "insert into account.journal (journal_id, issuer, number, kind, revision, part)"
                " values (-1, 'nobody', 'n', 'claim', 0, 0) returning issuer || '/' || number"
            ),
        ),
    ),
    Plant(
        "a posting without a journal",
        ("every_journal_has_its_reason",),
        ("insert into account.posting values (-7, 1, 'a', 'b', 5, 0) returning 'journal ' || journal_id",),
    ),
    Plant(
        "a posting of nothing",
        ("postings_are_transfers",),
        (
            "alter table account.posting drop constraint posting_amount_positive",
            (
                "insert into account.posting select journal_id, 99, 'a', 'b', 0, part from account.posting"
                " order by journal_id limit 1"
                " returning 'journal ' || journal_id || ' line 99'"
            ),
        ),
    ),
    Plant(
        "amounts that do not add up",
        ("outcome_adds_up", "bytes_equal_columns"),
        (
            "alter table account.outcome drop constraint outcome_payment_adds_up",
            f"update account.outcome set cash = cash + 1 where {one('account.outcome', PAID)} returning {KEY}",
        ),
    ),
    Plant(
        "somebody of the family who paid nothing",
        ("outcome_adds_up",),
        (f"update account.outcome set family_payer = 'M9' where {one('account.outcome', PAID)} returning {KEY}",),
    ),
    Plant(
        "bytes that say another amount",
        ("bytes_equal_columns",),
        (
            text("account.outcome", '\'"cash":"\'', '\'"cash":"1\'')
            + f" where {one('account.outcome', PAID + ' and t.cash > 0')} returning {KEY}",
        ),
        may=("repeat_gets_the_first_outcome",),
    ),
    Plant(
        "bytes that are no outcome",
        ("bytes_equal_columns",),
        (f"update account.outcome set value = '\\xff00' where {one('account.outcome', PAID)} returning {KEY}",),
        may=("repeat_gets_the_first_outcome",),
    ),
    Plant(
        "an outcome other than the decision",
        ("outcome_is_the_decision", "decision_bytes_equal_columns"),
        (
            "update adjudication.decision set pooled = pooled - 1 where "
            + one("adjudication.decision", "t.kind = 'claim' and t.pooled > 0")
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "an accumulator off by a fen",
        ("accumulators_rebuilt",),
        (
            "alter table adjudication.counter drop constraint counter_ceiling",
            "update adjudication.counter set used = used + 1, version = version + 1 where "
            + one("adjudication.counter", "t.ceiling is null")
            + " returning member_id || ' ' || period || ' ' || name",
        ),
    ),
    Plant(
        "an accumulator of no decision",
        ("accumulators_rebuilt",),
        ("insert into adjudication.counter values ('nobody', '130900:2023', 'x', 0, 5, null, 1) returning member_id",),
    ),
    Plant(
        "an accumulator over its ceiling",
        ("no_claim_exceeds_its_ceiling",),
        (
            "alter table adjudication.counter drop constraint counter_ceiling",
            "update adjudication.counter set ceiling = used - 1 where "
            + one("adjudication.counter", "t.ceiling is not null and t.used > 0")
            + " returning member_id || ' ' || period || ' ' || name",
        ),
    ),
    Plant(
        "a deductible taken twice",
        ("accumulators_form_a_chain", "accumulators_are_what_stands"),
        (
            # The second claim of a member begins again at zero, as if the first had not been.
            """
            create temp table chosen as
            select institution_id, claim_no from (
                select t.*, convert_from(value, 'utf8')::jsonb->'decision'->'before' as before from adjudication.decision t
                where kind = 'claim') as t
            where (t.before->>'ordinary.deductible')::int > 0 order by ordinal limit 1
            """,
            (
                "update adjudication.decision set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
                ' \'"before":\\{([^}]*)"ordinary.deductible":\\d+\', \'"before":{\\1"ordinary.deductible":0\'), \'utf8\')'
                f" where (institution_id, claim_no) in (select * from chosen) and kind = 'claim' returning {KEY}"
            ),
        ),
        may=(
            "decision_again_is_the_same",
            "accumulators_rebuilt",
            "reversal_gives_back",
            "no_claim_exceeds_its_ceiling",
        ),
    ),
    Plant(
        "a doubled journal",
        ("one_journal_an_outcome", "every_journal_has_its_reason"),
        unguarded(
            "alter table account.journal drop constraint journal_once",
            "create temp table chosen as select * from account.outcome t where " + PAID + " order by journal_id limit 1",
            "insert into account.posting select -p.journal_id, line, debit, credit, amount, p.part"
            " from account.posting p join chosen using (journal_id)",
            "insert into account.journal select -j.journal_id, issuer, number, j.kind, j.revision, j.part, corrects, booked_at"
            " from account.journal j join chosen using (journal_id)",
            f"select {KEY} from chosen",
        ),
    ),
    Plant(
        "a number with two rows",
        ("one_row_a_key",),
        (
            "alter table intake.submission drop constraint submission_pk",
            f"insert into intake.submission select * from intake.submission t where t.closed limit 1 returning {KEY}",
        ),
    ),
    Plant(
        "another answer to a repeat",
        ("repeat_gets_the_first_outcome",),
        ((f"update account.outcome set value = value || ' ' where {one('account.outcome', ANSWER)} returning {KEY}"),),
    ),
    Plant(
        "another id for the same key",
        ("id_is_of_the_key",),
        (
            text("account.outcome", '\'"event_id":"\'', '\'"event_id":"0\'')
            + f" where {one('account.outcome', PAID)} returning {KEY}",
        ),
        may=("repeat_gets_the_first_outcome",),
    ),
    Plant(
        "another content under the number",
        ("decided_on_the_first_content",),
        (
            "update intake.submission set digest = sha256('other') where "
            + one("intake.submission", "t.kind = 'claim' and not t.closed")
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "another instant of acceptance",
        ("decided_on_the_first_content",),
        (
            "update intake.submission set accepted_at = accepted_at + interval '1 ms' where "
            + one("intake.submission", "t.kind = 'claim' and not t.closed")
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "an accepted event kept under another id",
        ("accepted_under_its_id_and_member",),
        (f"update intake.outgoing set event_id = 'other' where {one('intake.outgoing', ACCEPTED)} returning {EVENT_KEY}",),
    ),
    Plant(
        "an accepted event under another member's key",
        ("accepted_under_its_id_and_member",),
        (f"update intake.outgoing set key = 'M9' where {one('intake.outgoing', ACCEPTED)} returning {EVENT_KEY}",),
    ),
    Plant(
        "a rejection under another key",
        ("rejections_are_kept",),
        (
            "update intake.outgoing set key = 'M9' where "
            + one("intake.outgoing", "t.target = 'claims.rejected'")
            + " returning event_id",
        ),
    ),
    *(
        Plant(
            f"{what} under another key",
            ("announced_under_its_member",),
            (f"update {table} set key = 'M9' where {one(table, condition)} returning {KEY}",),
        )
        for what, table, condition in (
            ("a decision", "adjudication.decision", "t.kind = 'claim'"),
            ("a question", "adjudication.decision", "t.kind = 'question'"),
            ("an outcome", "account.outcome", "t.kind = 'reversal'"),
            ("an answer", "account.outcome", "t.kind = 'answer'"),
        )
    ),
    Plant(
        "an outcome under no key",
        ("announced_under_its_member",),
        (f"update account.outcome set key = null where {one('account.outcome', PAID)} returning {KEY}",),
    ),
    Plant(
        "an obligation under the key of other regions",
        ("obligation_has_its_outcome",),
        (f"update crossregion.obligation set key = '1:2' where {one('crossregion.obligation', 'true')} returning {KEY}",),
    ),
    Plant(
        "a claim that must be reversed before earlier ones",
        ("policy_was_in_force",),
        (
            "update adjudication.decision set latest_first = true where "
            + one("adjudication.decision", "t.kind = 'claim' and t.outcome = 'settled'")
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "a pack whose later claims are to be reversed first",
        ("policy_was_in_force", "packs_are_what_their_hash_says"),
        (
            (  # the first by its key, for the first few breaches are shown
                "create temp table chosen as select * from adjudication.decision t"
                " where t.kind = 'claim' and t.outcome = 'settled' and t.pack_hash is not null and not t.latest_first"
                " order by (t.institution_id || '/' || t.claim_no) collate \"C\" limit 1"
            ),
            (
                "update adjudication.pack set content = convert_to(jsonb_set(convert_from(content, 'utf8')::jsonb,"
                " '{rules,benefits,reversal,rule}', to_jsonb('latest_first'::text))::text, 'utf8')"
                " where hash = (select pack_hash from chosen)"
            ),
            f"select {KEY} from chosen",
        ),
        may=("decision_again_is_the_same",),
    ),
    *(
        Plant(
            f"a dead letter with another {column}",
            ("topic_equals_table: claims.dead",),
            (f"update runtime.quarantine set {column} = '5' returning 'quarantine ' || id",),
            topics=True,
        )
        for column in ("reason", "detail", "record_offset", "key")
    ),
    Plant(
        "a published root that is gone",
        ("sealed_is_unchanged",),
        unguarded(
            "delete from account.day_root_announced",
            "create temp table chosen as select * from account.day_root",
            "delete from account.day_root",
            "select 'root of ' || day from chosen",
        ),
        topics=True,
    ),
    *(
        Plant(
            f"a deployment of {partitions} partitions",
            ("leases_belong_to_the_deployment",),
            (f"update runtime.deployment set partitions = {partitions}", "select 'deployment'"),
            topics=True,
        )
        for partitions in (1, 4, 64)
    ),
    Plant(
        "a conflict with nobody",
        ("first_content_stands",),
        (
            """
            create temp table chosen as
            select said->>'institution_id' as institution_id, coalesce(said->>'claim_no', said->>'use_no') as claim_no
            from (select convert_from(value, 'utf8') as text from intake.rejection offset 0) as r
            cross join lateral (select case when text like '%duplicate_conflict%' then text::jsonb end as said) as s
            where said->'reasons' @> '[{"code": "duplicate_conflict"}]' limit 1
            """,
            f"delete from intake.submission where (institution_id, claim_no) in (select * from chosen) returning {KEY}",
        ),
        may=("outcome_has_its_claim", "decided_on_the_first_content"),
    ),
    Plant(
        "a lost outcome",
        ("decided_is_answered",),
        (
            "delete from account.outcome where "
            + one("account.outcome", f"t.kind = 'claim' and t.journal_id is null and t.outcome = 'settled' and {STANDING}")
            + f" returning {KEY}",
        ),
        may=("decided_is_in_the_tables", "outbox_is_gapless", "repeat_gets_the_first_outcome"),
    ),
    Plant(
        "a lost decision",
        ("accepted_is_decided", "outcome_has_its_claim"),
        (
            "delete from adjudication.decision where "
            + one("adjudication.decision", "t.kind = 'claim' and t.outcome = 'rejected'")
            + f" returning {KEY}",
        ),
        may=("decided_is_in_the_tables", "outbox_is_gapless"),
    ),
    # While a step has records left, only what was overtaken by a later record of its kind is known to be lost.
    Plant(
        "a lost outcome, with more on its way",
        ("decided_is_answered",),
        (
            "update runtime.lease set next_offset = next_offset - 1 where service = 'account' and topic = 'claims.adjudicated'",
            "delete from account.outcome where "
            + one("account.outcome", f"t.kind = 'claim' and t.journal_id is null and t.outcome = 'settled' and {STANDING}")
            + f" returning {KEY}",
        ),
        may=("decided_is_in_the_tables", "outbox_is_gapless", "repeat_gets_the_first_outcome", "records_are_accounted_for"),
    ),
    Plant(
        "a lost decision, with more on its way",
        ("accepted_is_decided", "outcome_has_its_claim"),
        (
            "update runtime.lease set next_offset = next_offset - 1 where service = 'eligibility' and topic = 'claims.accepted'",
            "delete from adjudication.decision where "
            + one("adjudication.decision", "t.kind = 'claim' and t.outcome = 'rejected'")
            + f" returning {KEY}",
        ),
        may=("decided_is_in_the_tables", "outbox_is_gapless", "records_are_accounted_for"),
    ),
    Plant(
        "a claim that never left",
        ("accepted_is_decided",),
        (
            (
                "insert into intake.submission values ('H9', 'C9', 1, 'claim', sha256('x'), 'M9', now(), false, false, 0)"
                f" returning {KEY}"
            ),
        ),
    ),
    Plant(
        "a rejection without a reason",
        ("reasons_are_given",),
        (
            "update account.outcome set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
            " '\"reasons\":\\[.*?\\]', '\"reasons\":[]'), 'utf8') where "
            + one("account.outcome", "t.kind = 'claim' and t.outcome = 'rejected'")
            + f" returning {KEY}",
        ),
        may=("repeat_gets_the_first_outcome",),
    ),
    Plant(
        "a zero payment without its article",
        ("reasons_are_given",),
        (
            "update account.outcome set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
            " ',\"article\":\"[^\"]*\"', ''), 'utf8') where "
            + one(
                "account.outcome",
                "t.kind = 'claim' and t.pooled = 0 and convert_from(t.value, 'utf8') like '%within_deductible%'",
            )
            + f" returning {KEY}",
        ),
        may=("repeat_gets_the_first_outcome",),
    ),
    Plant(
        "a rejection of intake without Chinese",
        ("rejections_are_given", "rejections_are_kept"),
        (
            (
                "update intake.rejection set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
                f' \'"zh":"[^"]*"\', \'"zh":""\'), \'utf8\') where {one("intake.rejection", "true")} returning event_id'
            ),
        ),
    ),
    Plant(
        "decisions out of order",
        ("decisions_follow_the_log", "outcomes_follow_decisions"),
        (
            "alter table adjudication.decision alter ordinal drop identity",
            # Of a member's first two: what came second is made to have come first.
            """
            create temp table chosen as
            select a.ctid as first, b.ctid as second, b.institution_id, b.claim_no
            from adjudication.decision a join adjudication.decision b
                on a.member_id = b.member_id and a.ordinal < b.ordinal and a.institution_id = b.institution_id
                and a.kind = 'claim' and b.kind = 'claim'
            where not exists (select from adjudication.decision c where c.member_id = a.member_id
                              and c.ordinal < b.ordinal and c.ordinal <> a.ordinal)
            order by b.ordinal limit 1
            """,
            "update adjudication.decision set ordinal = -1 where ctid = (select second from chosen)",
            (
                f"select {KEY.replace('institution_id', 'd.institution_id').replace('claim_no', 'd.claim_no')}"
                " from adjudication.decision d"
                " where d.member_id = (select member_id from adjudication.decision where ordinal = -1)"
                " and d.ordinal >= 0 order by d.ordinal limit 1"
            ),
        ),
        may=("accumulators_form_a_chain", "accumulators_rebuilt", "accumulators_are_what_stands", "decision_again_is_the_same"),
    ),
    Plant(
        "a bit of a seal flipped",
        ("sealed_is_unchanged",),
        (
            "alter table account.block disable trigger user",
            "update account.block set hash = set_bit(hash, 0, 1 - get_bit(hash, 0)) where number = 1",
            "alter table account.block enable trigger user",
            "select 'block 1'",
        ),
    ),
    Plant(
        "a switched-off trigger",
        ("append_only_is_guarded",),
        ("alter table account.posting disable trigger posting_append_only", "select 'account.posting'"),
    ),
    Plant(
        "a service that may change a posting",
        ("only_what_has_a_state_is_changed",),
        ("grant update on account.posting to gongji_service", "select 'account.posting'"),
    ),
    Plant(
        "a service that may change an outcome",
        ("only_what_has_a_state_is_changed",),
        ("grant update on account.outcome to gongji_service", "select 'account.outcome'"),
    ),
    Plant(
        "a column that everybody may change",
        ("only_what_has_a_state_is_changed",),
        ("grant update (amount) on account.posting to public", "select 'account.posting'"),
    ),
    Plant(
        "a service that makes keys, a reader of their digests",
        ("only_what_has_a_state_is_changed",),
        (
            "grant insert on intake.api_key to gongji_service",
            "grant select (digest) on intake.api_key to gongji_ops",
            "select 'intake.api_key'",
        ),
    ),
    Plant(
        "a service that makes tables",
        ("only_what_has_a_state_is_changed",),
        ("grant create on schema account to gongji_service", "select 'account'"),
    ),
    Plant(
        "a service that sets the ledger's number back",
        ("only_what_has_a_state_is_changed",),
        ("grant update on sequence account.journal_number to gongji_service", "select 'account.journal_number'"),
    ),
    Plant(
        "a CHECK that was dropped and not made again",
        ("tables_have_their_constraints",),
        ("alter table adjudication.counter drop constraint counter_ceiling", "select 'adjudication.counter'"),
    ),
    Plant(
        "a CHECK that old rows never met",
        ("tables_have_their_constraints",),
        (
            "alter table account.balance drop constraint balance_not_negative",
            "alter table account.balance add constraint balance_not_negative check (balance >= 0) not valid",
            "select 'account.balance'",
        ),
    ),
    Plant(
        "a unique index that is gone",
        ("tables_have_their_constraints",),
        ("drop index account.credit_run_once", "select 'account.credit_run'"),
    ),
    Plant(
        "a guard that refuses nothing",
        ("nothing_else_acts_on_tables",),
        (
            """
            create or replace function account.append_only() returns trigger language plpgsql as $$
            begin return null; end $$
            """,
            "select 'account.append_only'",
        ),
    ),
    Plant(
        "a trigger of somebody's own",
        ("nothing_else_acts_on_tables",),
        (
            """
            create function account.rounds_up() returns trigger language plpgsql as $$
            begin new.amount = new.amount + 1; return new; end $$
            """,
            "create trigger rounds_up before insert on account.posting for each row execute function account.rounds_up()",
            "select 'account.posting'",
        ),
    ),
    Plant(
        "a rule that swallows what is inserted",
        ("nothing_else_acts_on_tables",),
        ("create rule swallows as on insert to account.posting do instead nothing", "select 'account.posting'"),
    ),
    Plant(
        "a service that may delete",
        ("roles_are_least",),
        ("grant delete on intake.submission to gongji_service", "select 'intake.submission'"),
    ),
    Plant(
        "a service that may put triggers on postings",
        ("roles_are_least",),
        ("grant trigger on account.posting to gongji_service", "select 'account.posting'"),
    ),
    Plant(
        "a reader that may write",
        ("only_what_has_a_state_is_changed",),
        ("grant insert on runtime.command_log to gongji_ops", "select 'runtime.command_log'"),
    ),
    Plant(
        "an event missing from its topic, another in its place",
        ("topic_equals_table: claims.adjudicated",),
        (
            "update adjudication.decision set value = value || ' ' where "
            + one("adjudication.decision", "t.kind = 'claim'")
            + f" returning {KEY}",
        ),
        topics=True,
    ),
    Plant(
        "a number missing from an outbox",
        ("outbox_is_gapless",),
        (
            "update intake.outgoing set seq = seq + 1000 where "
            + one("intake.outgoing", "t.target = 'claims.rejected' and t.source_partition = 0")
            + " returning 'intake claims.submitted/0'",
        ),
    ),
    Plant(
        "an obligation lost",
        ("remote_outcome_is_owed", "matrix_equals_obligations"),
        (f"delete from crossregion.obligation where {one('crossregion.obligation', 'true')} returning {KEY}",),
        may=("decided_is_in_the_tables", "outbox_is_gapless"),
    ),
    Plant(
        "an obligation off by a fen",
        ("remote_outcome_is_owed", "obligation_equals_postings"),
        (
            "update crossregion.obligation set amount = amount + 1 where "
            + one("crossregion.obligation", "t.amount > 0")
            + f" returning {KEY}",
        ),
        may=("matrix_equals_obligations",),
    ),
    Plant(
        "an obligation of nothing",
        ("obligation_has_its_outcome",),
        (
            (
                "insert into crossregion.obligation"
                " (institution_id, claim_no, kind, revision, part, debtor, creditor, amount, window_id,"
                " source_topic, source_partition) select 'H9', 'C9', 'claim', 0, 0, 'a', 'b', 5, max(window_id), 'x', 0"
                f" from crossregion.clearing_window returning {KEY}"
            ),
        ),
    ),
    Plant(
        "a cell of the matrix off by a fen",
        ("matrix_equals_obligations", "rows_equal_columns", "window_is_paid_as_its_matrix_says"),
        (
            (
                f"update crossregion.net_position set gross = gross + 1 where {one('crossregion.net_position', 'true')}"
                " returning 'window ' || window_id"
            ),
        ),
    ),
    Plant(
        "a region that receives a fen more",
        ("rows_equal_columns",),
        (
            (
                f"update crossregion.net_region set receivable = receivable + 1 where {one('crossregion.net_region', 'true')}"
                " returning 'window ' || window_id || ': ' || region"
            ),
        ),
    ),
    Plant(
        "a reversal that keeps a fen",
        ("reversal_is_the_negative", "bytes_equal_columns"),
        (
            (
                "update account.outcome set cash = cash - 1, own_paid = own_paid - 1, total = total - 1"
                f" where {one('account.outcome', REVERSED)} returning {KEY}"
            ),
        ),
        may=("outcome_is_the_decision",),
    ),
    Plant(
        "a correction that leaves a fen",
        ("correction_cancels_its_journal", "outcome_equals_postings"),
        unguarded(
            "create temp table chosen as select * from account.outcome t where " + REVERSED + " limit 1",
            "update account.posting p set amount = p.amount + 1 from chosen c where p.journal_id = c.journal_id and p.line = 1",
            f"select {KEY} from chosen",
        ),
        may=("obligation_equals_postings",),
    ),
    Plant(
        "a reversal that corrects nothing",
        ("reversal_corrects_the_claims_journal",),
        unguarded(
            "create temp table chosen as select * from account.outcome t where " + REVERSED + " limit 1",
            "update account.journal j set corrects = null from chosen c where j.journal_id = c.journal_id",
            f"select {KEY} from chosen",
        ),
    ),
    Plant(
        "a reversal that gives back too much",
        ("reversal_gives_back",),
        (
            "update adjudication.decision set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
            ' \'"before":\\{([^}]*)"pooled.fund":\', \'"before":{\\1"pooled.fund":9\'), \'utf8\') where '
            + one(
                "adjudication.decision",
                "t.kind = 'reversal' and t.pooled < 0 and convert_from(t.value, 'utf8') like '%pooled.fund%'",
            )
            + f" returning {KEY}",
        ),
        may=("accumulators_form_a_chain", "decision_again_is_the_same", "accumulators_rebuilt", "accumulators_are_what_stands"),
    ),
    Plant(
        "grounds that give another result",
        ("decision_again_is_the_same",),
        (
            text("adjudication.decision", '\'"benefit":"ordinary"\'', '\'"benefit":"hypertension"\'')
            + " where "
            + one(
                "adjudication.decision",
                "t.kind = 'claim' and t.deductible > 0 and convert_from(t.value, 'utf8') like '%\"benefit\":\"ordinary\"%'",
            )
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "a count that hides a record",
        ("decided_is_in_the_tables", "records_are_accounted_for"),
        (
            (
                "update runtime.lease set records = records + 1, decided = decided + 1"
                " where service = 'account' and topic = 'claims.adjudicated' and partition = 2"
                " returning service || ' ' || topic || '/' || partition"
            ),
        ),
    ),
    Plant(
        "a submission nobody counted",
        ("submissions_are_all_read", "decided_is_in_the_tables"),
        (
            (
                "update runtime.lease set records = records - 1, decided = decided - 1"
                " where service = 'intake' and topic = 'claims.submitted' and partition = 2"
                " returning service || ' ' || topic || '/' || partition"
            ),
        ),
        topics=True,
    ),
    Plant(
        "a dead letter put away by nobody",
        ("commands_are_written_down",),
        ("update runtime.quarantine set state = 'discarded' returning 'quarantine ' || id",),
    ),
    Plant(
        "a clearing window closed by nobody",
        ("commands_are_written_down",),
        (
            (
                "update runtime.command_log set after = after - 'window' where command = 'clearing close'"
                " returning 'window ' || (before->>'window')"
            ),
        ),
    ),
    Plant(
        "a window paid to one region and not to the others",
        ("window_is_paid_as_its_matrix_says", "every_clearing_journal_has_its_window"),
        unguarded(
            FIRST_PAID,
            "delete from account.window_payment where (window_id, debtor, creditor) = (select * from chosen)",
            "select 'window ' || window_id || ': ' || debtor || ' -> ' || creditor from chosen",
        ),
    ),
    Plant(
        "a window paid by a fen less than was posted",
        ("window_payment_equals_postings", "window_is_paid_as_its_matrix_says"),
        unguarded(
            FIRST_PAID,
            "update account.window_payment set amount = amount - 1 where (window_id, debtor, creditor) = (select * from chosen)",
            "select 'window ' || window_id || ': ' || debtor || ' -> ' || creditor from chosen",
        ),
    ),
    Plant(
        "a journal of clearing by no window",
        ("every_clearing_journal_has_its_window",),
        (
            (
                "insert into account.journal (journal_id, issuer, number, kind, revision, part)"
                " values (-1, '130900', '440800/9', 'clearing', 0, 0) returning issuer || '/' || number"
            ),
        ),
    ),
    Plant(
        "a window paid by nobody",
        ("window_payments_are_commanded",),
        (
            (
                "update runtime.command_log set after = after - 'window' where command = 'fund clear'"
                " returning 'window ' || (before->>'window')"
            ),
        ),
    ),
    Plant(
        "an institution's key made by nobody",
        ("commands_are_written_down",),
        (
            (
                "insert into intake.api_key (key_id, institution_id, digest) values ('k1', 'H', sha256('x'))"
                " returning 'key ' || key_id"
            ),
        ),
    ),
    Plant(
        "a revoked key that is in force again",
        ("commands_are_written_down",),
        (
            "insert into intake.api_key (key_id, institution_id, digest) values ('k2', 'H', sha256('x'))",
            (
                "insert into runtime.command_log (who, command, reason, after) select 'w', c, 'r', x from (values"
                " ('institution key create'), ('institution key revoke')) as t (c),"
                " (select jsonb_build_object('key_id', 'k2', 'institution_id', 'H') as x) as y"
            ),
            "select 'key k2'",
        ),
    ),
    Plant(
        "a dead letter that is held and closed",
        ("commands_are_written_down",),
        ("update runtime.quarantine set closed_at = now() returning 'quarantine ' || id",),
    ),
    Plant(
        "a lease that is gone",
        ("outbox_is_gapless",),
        (
            (
                "delete from runtime.lease where service = 'intake' and topic = 'claims.submitted' and partition = 2"
                " returning service || ' ' || topic || '/' || partition"
            ),
        ),
        may=("accepted_is_decided",),
    ),
    Plant(
        "a rejection that is not kept",
        ("rejections_are_kept",),
        (f"delete from intake.rejection where {one('intake.rejection', 'true')} returning event_id",),
        may=("first_content_stands",),
    ),
    Plant(
        "a rejection that its institution does not see",
        ("rejections_are_kept",),
        (
            "update intake.outgoing set rejected_institution = null where "
            + one("intake.outgoing", "t.rejected_institution is not null")
            + " returning event_id",
        ),
    ),
    Plant(
        "a rejection that another institution sees",
        ("rejections_are_kept",),
        (
            "update intake.outgoing set rejected_institution = 'H9' where "
            + one("intake.outgoing", "t.rejected_institution is not null")
            + " returning event_id",
        ),
    ),
    Plant(
        "an accepted claim that is shown as rejected",
        ("rejections_are_kept",),
        (
            "update intake.outgoing set rejected_institution = 'H9' where "
            + one("intake.outgoing", "t.target = 'claims.accepted'")
            + " returning event_id",
        ),
    ),
    Plant(
        "a pack under another city's name",
        ("packs_are_what_their_hash_says",),
        (f"update adjudication.pack set region = '999999' where {one('adjudication.pack', 'true')} returning hash",),
        may=("policy_was_in_force",),
    ),
    Plant(
        "a visit in another month than the claim says",
        ("decision_bytes_equal_columns",),
        (
            "update adjudication.decision set visited_on = visited_on + 31 where "
            + one("adjudication.decision", "t.kind = 'claim' and t.pooled > 0")
            + f" returning {KEY}",
        ),
        may=("policy_was_in_force",),
    ),
    Plant(
        "an outcome moved out of an audit's --since",
        ("bytes_equal_columns",),
        (
            (
                "update account.outcome set settled_at = settled_at - interval '1 year'"
                f" where {one('account.outcome', PAID)} returning {KEY}"
            ),
        ),
    ),
    Plant(
        "an outcome paid to somebody else",
        ("bytes_equal_columns",),
        (f"update account.outcome set payee = 'member' where {one('account.outcome', PAID)} returning {KEY}",),
        may=("outcome_equals_postings",),
    ),
    Plant(
        "a lease of another cluster",
        ("leases_belong_to_the_deployment",),
        ("update runtime.lease set cluster_id = 'other' where topic = 'claims.eligible' and partition = 1 returning topic",),
    ),
    Plant(
        "a pack that was changed",
        ("packs_are_what_their_hash_says",),
        (f"update adjudication.pack set content = content || ' ' where {one('adjudication.pack', 'true')} returning hash",),
    ),
    Plant(
        "a visit before the law",
        ("policy_was_in_force", "decision_bytes_equal_columns"),
        (
            "update adjudication.decision set visited_on = '1999-01-01' where "
            + one("adjudication.decision", "t.kind = 'claim' and t.pack_hash is not null")
            + f" returning {KEY}",
        ),
    ),
    Plant(
        "another city's pack",
        ("pack_is_of_the_insured_region",),
        (
            "update adjudication.decision set value = convert_to(regexp_replace(convert_from(value, 'utf8'),"
            ' \'"decision":(.*)"region":"\\d+"\', \'"decision":\\1"region":"999999"\'), \'utf8\') where '
            + one("adjudication.decision", "t.kind = 'claim' and t.pooled > 0")
            + f" returning {KEY}",
        ),
        may=(
            "decision_again_is_the_same",
            "accumulators_form_a_chain",  # whose, in which city, the pack says
            "accumulators_rebuilt",
            "accumulators_are_what_stands",
            "reversal_gives_back",
        ),
    ),
)


def test_the_settled_day_is_clean_and_every_check_had_something_to_look_at(settled: Settings) -> None:
    report = look(settled, topics=True)
    assert breached(report) == {}
    assert report.quiescent
    assert report.in_flight == 0
    idle = {finding.check.name for finding in report.findings if not finding.rows and finding.check.reads}
    assert idle <= out_of_reach(settled, report)


def test_of_large_books_the_passes_run_in_processes_of_their_own_and_find_the_same(
    settled: Settings, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = new_database(settled.postgres, settled.postgres.rpartition("/")[2])
    with psycopg.connect(copy, autocommit=True) as books:
        books.execute("update adjudication.counter set used = used + 1, ceiling = null")
    monkeypatch.setattr(lanes, "APART_FROM", 1 << 62)
    here = look(replace(settled, postgres=copy), topics=False)
    monkeypatch.setattr(lanes, "APART_FROM", 1)
    apart = look(replace(settled, postgres=copy), topics=False)
    assert "accumulators_rebuilt" in breached(apart)
    assert sorted(map(str, apart.findings)) == sorted(map(str, here.findings))


def out_of_reach(settled: Settings, report: Report) -> set[str]:
    """Checks that rest on a table which such a day leaves empty (credited months, payments...): planted by tests of their own."""
    with psycopg.connect(settled.postgres) as books:
        tables = {table for finding in report.findings for table in finding.check.reads if "." in table and table in known(books)}
        empty = {table for table in tables if books.execute(f"select from {table} limit 1").fetchone() is None}
    return {finding.check.name for finding in report.findings if empty & set(finding.check.reads)}


def known(books: psycopg.Connection[tuple[object, ...]]) -> set[str]:
    rows = books.execute("select schemaname || '.' || relname from pg_stat_user_tables").fetchall()
    return {str(row[0]) for row in rows}


@pytest.mark.parametrize("plant", PLANTS, ids=[plant.name for plant in PLANTS])
def test_a_planted_breach_is_named(settled: Settings, new_database: Callable[..., str], plant: Plant) -> None:
    owner = settled.postgres
    copy = new_database(owner, owner.rpartition("/")[2])
    with psycopg.connect(copy, autocommit=True) as books:
        for statement in plant.statements[:-1]:
            books.execute(statement)
        row = books.execute(plant.statements[-1]).fetchone()
    assert row is not None, "the day has nothing to plant this in"
    found = breached(look(replace(settled, postgres=copy), topics=plant.topics))
    # Whatever touches a sealed posting is found by its seal as well, and so is the constraint that had to go first.
    may = {*plant.may, "sealed_is_unchanged", "tables_have_their_constraints"}
    assert set(plant.must) <= set(found) <= {*plant.must, *may}, found
    assert any(row[0] in breach for breach in found[plant.must[0]]), (row[0], found)


def test_the_end_of_the_path_is_in_flight_and_no_breach(settled: Settings, new_database: Callable[..., str]) -> None:
    copy = new_database(settled.postgres, settled.postgres.rpartition("/")[2])
    with psycopg.connect(copy, autocommit=True) as books:
        books.execute(
            "update runtime.lease set next_offset = next_offset - 1 where service = 'account' and topic like 'claims.%'"
        )
        books.execute(
            "delete from account.outcome where kind <> 'answer' and (source_partition, seq) in"
            " (select source_partition, max(seq) from account.outcome where kind <> 'answer' group by 1)"
        )
    report = look(replace(settled, postgres=copy), topics=False)
    (answered,) = [finding for finding in report.findings if finding.check.name == "decided_is_answered"]
    assert (answered.total, answered.in_flight > 0, report.quiescent) == (0, True, False)


@pytest.mark.parametrize(("value", "what"), [("9999:1", "ahead"), ("{version}:77777777", "at version"), ("1:none", "table")])
def test_a_wrong_value_in_redis_is_named(settled: Settings, value: str, what: str) -> None:
    with psycopg.connect(settled.postgres) as books:
        row = books.execute("select member_id, period, name, used, version from adjudication.counter order by 1, 2, 3").fetchone()
        (incarnation,) = books.execute("select incarnation::text from runtime.deployment").fetchone() or ("",)
    assert row is not None
    member_id, period, name, used, version = row
    key, counter = f"gongji:{incarnation}:accumulators:{member_id}", f"{period}|{name}"
    with redis.Redis.from_url(settled.redis) as client:
        assert client.hget(key, counter) == f"{version}:{used}".encode()
        client.hset(key, counter, value.format(version=version))
        try:
            found = breached(look(settled, topics=False))
        finally:
            client.hset(key, counter, f"{version}:{used}")
    assert set(found) == {"redis_equals_postgres"}
    assert member_id in found["redis_equals_postgres"][0]
    assert what in found["redis_equals_postgres"][0]


def test_every_invariant_of_stored_data_has_a_plant(settled: Settings) -> None:
    """A check that nobody has seen speak proves nothing."""
    report = look(settled, topics=True)
    spoken = {name for plant in PLANTS for name in plant.must} | {"redis_equals_postgres", "quarantined_is_named"}
    silent = {finding.check.name for finding in report.findings} - spoken - out_of_reach(settled, report)
    assert {name for name in silent if not name.startswith("topic_equals_table")} == set()
