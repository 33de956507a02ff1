"""Claims settled into real books, with adjudication's grounds, and `gongji fund` on them; a plugin, loaded by conftest.py."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
import pytest
from account_books import Books, claim, credit, purchase, reversal
from adjudication_cases import POLICIES
from typer.testing import CliRunner

from deploy import migrations
from services.__main__ import command_line
from services.account.statement import statement
from services.account.store import PostgresStore
from shared.events import Event, InstitutionFacts, encode
from shared.identity import part_of
from shared.money import fen

ZHANJIANG, BAZHONG, SHIYAN = "440800", "511900", "420300"

# 7.6 % of 1,000,000.00 is 76,000.00; less 5 % 72,200.00. What was booked elsewhere comes off that; a twelfth is the month's.
CONTRIBUTIONS = 1_000_000


class Case(NamedTuple):
    """A claim of 100.00 yuan: where, when, for what; how much of it the pooled fund pays (fen)."""

    number: str
    institution: str
    pooled: int
    day: date = date(2023, 5, 10)
    benefit: str = "ordinary"
    insured: str = "440800"
    care: str = "440800"
    designated: bool = True
    use_account: bool = False
    member: str = "M1"
    channel: str = "direct"


class Payers:
    """Account's books, and the table of decisions beside them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._books = Books(PostgresStore(), POLICIES, tx=connection)

    async def credit(self, member: str, amount: int) -> None:
        await self._books.add(credit(f"K{member}", amount, member))

    async def settle(self, *cases: Case) -> None:
        for case in cases:
            await self._file(event_of(case))

    async def purchase(self, number: str, institution: str, amount: int, day: date, region: str = "440800") -> None:
        """An account use of this amount."""
        where = InstitutionFacts(institution_id=institution, region=region, kind="pharmacy", level="none", designated=True)
        made = purchase(number, "drugs", amount, region=region, care_region=region, institution=where)
        assert made.use is not None
        use = msgspec.structs.replace(made.use, institution_id=institution, used_on=day)
        await self._file(msgspec.structs.replace(made, institution_id=institution, use=use))

    async def reverse(self, case: Case) -> None:
        made = reversal(case.number, case.member, pooled=case.pooled)
        await self._settle(msgspec.structs.replace(made, institution_id=case.institution))

    async def _file(self, event: Event) -> None:
        await self._connection.execute(
            "insert into adjudication.decision (institution_id, claim_no, kind, revision, member_id, part, visited_on, period,"
            " outcome, total, own_paid, over_limit, pre_self_pay, in_scope, deductible, pooled, large_expense, civil_servant,"
            " veterans, source_topic, source_partition, value)"
            " values ($1, $2, $3, 0, $4, $5, $6, '2023', 'settled', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 't', 0, $7)",
            *(event.institution_id, event.claim_no, event.kind, event.member_id, part_of(event.member_id)),
            *(event.claim.visited_on if event.claim else None, encode(event)),
        )
        await self._settle(event)

    async def _settle(self, event: Event) -> None:
        [outcome] = await self._books.settle(event)
        assert outcome is not None
        assert outcome.outcome != "rejected", outcome.reasons


def event_of(case: Case) -> Event:
    """The claim as adjudication announces it."""
    where = InstitutionFacts(
        institution_id=case.institution, region=case.care, kind="hospital", level="2", designated=case.designated
    )
    verdict: dict[str, Any] = {"region": case.insured, "care_region": case.care, "institution": where}
    made = claim(
        case.number,
        case.member,
        pooled=case.pooled,
        verdict=verdict,
        use_account=case.use_account,
        channel=case.channel,
    )
    assert made.claim is not None
    said = msgspec.structs.replace(made.claim, institution_id=case.institution, visited_on=case.day, benefit=case.benefit)
    return msgspec.structs.replace(made, institution_id=case.institution, claim=said)


def parameters(contributions: int = CONTRIBUTIONS) -> str:
    return f'"440800":\n  contributions_year_before_last:\n    - {{from: 2022-01-01, value: {contributions}}}\n'


@pytest.fixture
def fund_books(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "figures.yaml").write_text(parameters())
    monkeypatch.setenv("GONGJI_PARAMETERS", str(tmp_path / "figures.yaml"))
    migrations.run(environment["GONGJI_POSTGRES"])
    return environment["GONGJI_POSTGRES"]


@pytest.fixture
async def connection(fund_books: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(fund_books)
    yield opened
    await opened.close()


@pytest.fixture
def payers(connection: asyncpg.Connection) -> Payers:
    return Payers(connection)


async def gongji(*arguments: str) -> list[dict[str, Any]]:
    """What a command prints; raises what it would end with."""
    result = await asyncio.to_thread(CliRunner().invoke, command_line(), [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


async def pay(month: str = "2023-05", region: str = ZHANJIANG, *options: str) -> dict[str, list[str]]:
    lines = await gongji("fund", "pay", "--region", region, "--month", month, "--reason", "月结", *options)
    names = ("incurred", "due", "paid", "retained", "other", "carried")
    return {line["institution_id"]: [line[name] for name in names] for line in lines}


async def balance(connection: asyncpg.Connection, account: str) -> int:
    return (await statement(connection, account, None, None)).closing


async def rows(connection: asyncpg.Connection) -> list[int]:
    tables = ("journal", "posting", "payment_run", "payment_item", "payment", "retention_release")
    counted = [await connection.fetchval(f"select count(*) from account.{table}") for table in tables]
    return [*counted, await connection.fetchval("select count(*) from runtime.command_log")]


def signed(text: str) -> int:
    return -fen(text[1:]) if text.startswith("-") else fen(text)
