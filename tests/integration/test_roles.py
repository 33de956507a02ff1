"""Least privilege: each role tries whatever it must not do, on every table there is."""

from collections.abc import Iterator
from typing import Final

import psycopg
import pytest
from psycopg import sql

from deploy.migrations import run as migrate
from services.ops.audit.tables import CONSTRAINTS

SERVICE, OPS = "gongji_service", "gongji_ops"

# What services change of rows that are there; everything else they only add to.
CHANGED: Final = {
    "account.balance", "account.credit_run", "adjudication.counter", "crossregion.clearing_window", "intake.submission",
    "runtime.deployment", "runtime.lease",
    "eligibility.catalogue_item", "eligibility.family_link", "eligibility.inpatient_stay", "eligibility.institution",
    "eligibility.member", "eligibility.remote_filing",
}  # fmt: skip
CHANGED_IN_PART: Final = {
    "runtime.quarantine": {"record_offset", "state", "closed_at", "closed_why"},
    "runtime.command_log": {"after"},
}
_TABLES = """
    select c.oid::regclass::text, array_agg(a.attname::text) filter (where a.attidentity = '' and a.attgenerated = '')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid
    where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
        and n.nspname in ('runtime', 'intake', 'eligibility', 'adjudication', 'account', 'crossregion')
    group by c.oid
"""


@pytest.fixture
def owner(fresh_database: str) -> Iterator[psycopg.Connection]:
    migrate(fresh_database)
    with psycopg.connect(fresh_database, autocommit=True) as connection:
        yield connection


def tables(owner: psycopg.Connection) -> dict[str, set[str]]:
    """Every table of the books with its columns."""
    found = {name: set(columns) for name, columns in owner.execute(_TABLES)}
    assert len(found) > 30
    return found


def may(owner: psycopg.Connection, role: str, text: str) -> bool:
    """Whether a role is let through. What fails later, at a constraint or a trigger, was let through."""
    try:
        with owner.transaction(force_rollback=True):
            owner.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            owner.execute(text.encode())
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.Error:
        return True
    return True


def test_services_delete_nothing_anywhere(owner: psycopg.Connection) -> None:
    told = [text for table in tables(owner) for text in (f"delete from {table}", f"truncate {table} cascade")]
    assert [text for text in told if may(owner, SERVICE, text)] == []


def test_services_change_only_what_they_have_to(owner: psycopg.Connection) -> None:
    changeable: dict[str, set[str]] = {}
    for table, columns in tables(owner).items():
        if table == "intake.api_key":  # made and revoked by the owner
            assert not may(owner, SERVICE, f"insert into {table} default values")
        for column in columns:
            if may(owner, SERVICE, f'update {table} set "{column}" = null where false'):
                changeable.setdefault(table, set()).add(column)
    whole = {table for table, columns in changeable.items() if table not in CHANGED_IN_PART}
    assert whole == CHANGED
    assert {table: changeable.get(table) for table in CHANGED_IN_PART} == CHANGED_IN_PART


def test_operators_readers_read_and_write_nothing(owner: psycopg.Connection) -> None:
    for table, columns in tables(owner).items():
        column = min(columns)
        for text in (
            f"insert into {table} default values", f'update {table} set "{column}" = null', f"delete from {table}",
            f"truncate {table} cascade", f"lock table {table} in exclusive mode",
        ):  # fmt: skip
            assert not may(owner, OPS, text), text
        assert table == "intake.api_key" or may(owner, OPS, f"select * from {table}"), table
    assert not may(owner, OPS, "select digest from intake.api_key")
    assert not may(owner, OPS, "select nextval('runtime.quarantine_id_seq')")


@pytest.mark.parametrize("role", [SERVICE, OPS])
@pytest.mark.parametrize(
    "text",
    [
        "alter table account.posting disable trigger all",
        "drop table account.posting",
        "drop trigger posting_append_only on account.posting",
        "create table account.another (a int)",
        "create table public.another (a int)",
        "create role another",
        "set session_replication_role = replica",
        "copy account.posting to program 'cat'",
        "select pg_read_file('/etc/passwd')",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'",
    ],
)
def test_no_role_gets_round_the_grants(owner: psycopg.Connection, role: str, text: str) -> None:
    assert not may(owner, role, text)


def test_a_privilege_that_somebody_grants_is_seen(owner: psycopg.Connection) -> None:
    owner.execute("grant delete on account.posting to gongji_service")
    assert may(owner, SERVICE, "delete from account.posting")


def test_the_audit_knows_every_constraint_that_migrations_make(owner: psycopg.Connection) -> None:
    """One that a migration adds and the audit does not know would be missed by nobody."""
    made = owner.execute("""
        select c.oid::regclass::text, t.name from pg_class c join pg_namespace n on n.oid = c.relnamespace join (
            select conrelid as relation, conname::text as name from pg_constraint where contype in ('c', 'p', 'u', 'f')
            union select x.indrelid, i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid where x.indisunique
        ) as t on t.relation = c.oid
        where n.nspname in ('runtime', 'intake', 'eligibility', 'adjudication', 'account', 'crossregion') and c.relkind = 'r'
    """).fetchall()
    assert set(made) == {(table, name) for table, names in CONSTRAINTS.items() for name in names.split()}
