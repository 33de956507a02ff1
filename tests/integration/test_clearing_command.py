"""`gongji clearing` on real servers: a window closes once, is announced, and shows its claims."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from typer.testing import CliRunner

from deploy import migrations
from services.crossregion.cli import app
from services.crossregion.steps import CrossregionStep
from services.crossregion.store import PostgresStore
from shared.events import SETTLED, WINDOWS
from shared.outcome import Outcome, encode
from shared.runtime import topics
from shared.runtime.step import Filed, Record

HOME, AWAY = "130900", "440800"


@pytest.fixture
def deployment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    migrations.run(environment["GONGJI_POSTGRES"])
    asyncio.run(topics.prepare(environment["GONGJI_KAFKA"], 8))
    return environment


async def file(dsn: str, *funds: str) -> None:
    """Files one obligation a fund's payment, as the services' role may."""
    step = CrossregionStep(PostgresStore())
    connection = await asyncpg.connect(dsn)
    async with connection.transaction():
        await connection.execute("set local role gongji_service")
        events = [step.decode(Record(SETTLED, 0, 0, 0, None, encode(outcome(n, fund)))) for n, fund in enumerate(funds)]
        facts = await step.load(connection, events)
        decided = [one for event in events if (one := step.decide(event, facts))]
        await step.record(connection, [Filed(d, SETTLED, 0, 0, n, step.announce(d)) for n, d in enumerate(decided)])
    await connection.close()


def outcome(number: int, fund: str) -> Outcome:
    shown: dict[str, Any] = {"insured_region": HOME, "care_region": AWAY, "event_id": "0", "member_id": "M1"}
    return Outcome(kind="claim", claim_no=f"C{number}", institution_id="I1", outcome="settled", fund_total=fund, **shown)


async def announced(kafka: str, since: datetime) -> list[bytes]:
    place = TopicPartition(WINDOWS, 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found = []
        while await consumer.position(place) < end:
            for records in (await consumer.getmany(place, timeout_ms=1000)).values():
                found += [record.value for record in records if record.timestamp >= since.timestamp() * 1000]
        return found
    finally:
        await consumer.stop()


def run(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    said: dict[str, object] = json.loads(result.stdout)
    return said


@pytest.mark.servers
def test_a_window_is_closed_announced_once_and_shown_with_its_claims(deployment: dict[str, str]) -> None:
    began = datetime.now(UTC)
    asyncio.run(file(deployment["GONGJI_POSTGRES"], "10.00", "2.50"))
    closed = run("close", "--reason", "month")
    assert closed["positions"] == [{"debtor": HOME, "creditor": AWAY, "gross": "12.50", "claims": 2}]
    assert closed["closed_at"] is not None
    following = run("close", "--reason", "month")
    assert following["positions"] == []
    said = asyncio.run(announced(deployment["GONGJI_KAFKA"], began))
    assert [json.loads(value) for value in said] == [closed, following]
    shown = run("show", str(closed["window"]), "--claims")
    assert shown.pop("obligations") == [
        {
            "institution_id": "I1",
            "claim_no": number,
            "kind": "claim",
            "revision": 0,
            "debtor": HOME,
            "creditor": AWAY,
            "amount": amount,
        }
        for number, amount in (("C0", "10.00"), ("C1", "2.50"))
    ]
    assert shown.pop("paid_at") is None
    assert shown == closed


@pytest.mark.servers
def test_a_closing_that_could_not_be_announced_is_announced_by_the_next(
    deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.now(UTC)
    asyncio.run(file(deployment["GONGJI_POSTGRES"], "10.00"))
    with monkeypatch.context() as broken:
        broken.setenv("GONGJI_KAFKA", "127.0.0.1:9")
        result = CliRunner().invoke(app, ["close", "--reason", "month"])
    assert result.exit_code == 3
    assert "stays closed" in result.stderr
    run("close", "--reason", "month")
    said = [json.loads(value) for value in asyncio.run(announced(deployment["GONGJI_KAFKA"], began))]
    assert [window["regions"] != [] for window in said] == [True, False]


@pytest.mark.servers
def test_what_is_not_there_is_said(deployment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", "77"])
    assert (result.exit_code, "window 77" in result.stderr) == (2, True)
    assert deployment["GONGJI_POSTGRES"]
    monkeypatch.delenv("GONGJI_POSTGRES")
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path))
    assert CliRunner().invoke(app, ["show"]).exit_code == 3
