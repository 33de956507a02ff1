"""`gongji ledger seal | prove | verify | check | chart`: a proof holds with the published root alone, and no other thing does."""

import asyncio
import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from ledger_hands import SOME, book
from typer.testing import CliRunner, Result

from deploy import migrations
from services.__main__ import command_line
from services.account import seal_proof
from shared.errors import Stop, UsageError
from shared.runtime import topics

EARLIER = datetime(2024, 3, 1, 4, 0, tzinfo=UTC)


@pytest.fixture
def books(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    migrations.run(environment["GONGJI_POSTGRES"])
    asyncio.run(topics.prepare(environment["GONGJI_KAFKA"], 8))
    return environment["GONGJI_POSTGRES"]


def booked(dsn: str, *claims: tuple[str, dict[str, Any]]) -> None:
    async def put() -> None:
        connection = await asyncpg.connect(dsn)
        for number, how in claims:
            await book(connection, number, SOME, **how)
        await connection.close()

    asyncio.run(put())


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(command_line(), ["ledger", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def proof(books: str, tmp_path: Path) -> Path:
    """The proof of a claim of one day and its reversal on another, among others."""
    for n in range(5):
        booked(books, (f"A{n}", {"booked_at": EARLIER}))
    booked(books, ("C1", {"booked_at": EARLIER}), ("C1", {"kind": "reversal"}), ("C2", {}), ("C1", {"issuer": "H2"}))
    file = tmp_path / "proof.json"
    assert run("prove", "C1", "--institution", "H1", "--out", str(file)).exit_code == 0
    return file


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server, no home: as at an outsider's."""
    for name in ("GONGJI_KAFKA", "GONGJI_POSTGRES", "GONGJI_REDIS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path / "nowhere"))


@pytest.mark.servers
@pytest.mark.usefixtures("proof", "offline")
def test_a_proof_holds_offline_with_nothing_but_the_published_roots(proof: Path, tmp_path: Path) -> None:
    roots = sorted(one["root"] for one in json.loads(proof.read_text())["roots"])
    assert len(roots) == 2
    with_hex = run("verify", str(proof), "--root", roots[0], "--root", roots[1].upper(), "--json")
    assert with_hex.exit_code == 0
    told = json.loads(with_hex.stdout)
    assert (told["ok"], told["claim_no"], told["institution_id"]) == (True, "C1", "H1")
    assert [(one["kind"], one["debit"], one["amount"]) for one in told["postings"]] == [
        ("claim", "fund:440800:pooled", "60.00"),
        ("claim", "personal:M1", "40.00"),
        ("reversal", "fund:440800:pooled", "60.00"),
        ("reversal", "personal:M1", "40.00"),
    ]
    published = tmp_path / "home" / "roots"
    both = tmp_path / "both.jsonl"
    both.write_bytes(b"".join(file.read_bytes() for file in sorted(published.iterdir())))
    assert run("verify", str(proof), "--root", str(both)).exit_code == 0
    assert run("verify", str(proof), "--root", roots[0]).exit_code == 1
    with pytest.raises(UsageError, match="no published root"):
        run("verify", str(proof))


@pytest.mark.servers
@pytest.mark.usefixtures("books")
def test_where_the_roots_are_at_hand_no_root_need_be_named(proof: Path) -> None:
    assert "holds" in run("verify", str(proof)).stdout
    assert run("check").exit_code == 0


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every scalar in a document."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))
    else:
        yield path


def changed(document: Any, path: tuple[Any, ...]) -> Any:
    """The document with one scalar made another of its kind."""
    other = copy.deepcopy(document)
    at = other
    for step in path[:-1]:
        at = at[step]
    value = at[path[-1]]
    if isinstance(value, bool):
        at[path[-1]] = not value
    elif isinstance(value, int):
        at[path[-1]] = value + 1
    elif value is None:
        at[path[-1]] = 7
    else:
        at[path[-1]] = ("1" if value[:1] != "1" else "2") + value[1:]
    return other


@pytest.mark.servers
def test_a_proof_in_which_any_one_thing_is_changed_does_not_hold(proof: Path) -> None:
    document = json.loads(proof.read_text())
    roots = {one["root"] for one in document["roots"]}
    assert seal_proof.faults(seal_proof.read(proof.read_bytes()), roots) == []
    tried = 0
    for path in places(document):
        if path[0] == "roots" and path[-1] in {"closes", "made_at"}:
            continue  # said beside the root, not under it
        tried += 1
        try:
            faults = seal_proof.faults(seal_proof.read(json.dumps(changed(document, path)).encode()), roots)
        except ValueError:
            continue  # not even a proof
        assert faults, path
    assert tried > 80


@pytest.mark.servers
def test_a_proof_that_leaves_out_what_it_should_prove_is_none(proof: Path) -> None:
    document = json.loads(proof.read_text())
    roots = {one["root"] for one in document["roots"]}
    for name in ("postings", "blocks", "roots"):
        assert seal_proof.faults(seal_proof.read(json.dumps(document | {name: []}).encode()), roots), name


@pytest.mark.servers
def test_what_cannot_be_proved_is_said(books: str, tmp_path: Path) -> None:
    booked(books, ("C1", {}), ("C1", {"issuer": "H2"}))
    with pytest.raises(Stop, match="nothing is booked under C9"):
        run("prove", "C9")
    with pytest.raises(Stop, match="used by H1, H2"):
        run("prove", "C1")
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(Stop, match="is no proof"):
        run("verify", str(tmp_path / "no.json"), "--root", "00")
    with pytest.raises(UsageError, match="No such file"):
        run("verify", str(tmp_path / "nothing.json"), "--root", "00")


@pytest.mark.servers
@pytest.mark.parametrize("algorithm", ["sm3", "sha256"])
def test_sealing_by_hand_publishes_a_root_of_the_day_so_far(
    books: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    monkeypatch.setenv("GONGJI_SEAL", algorithm)
    for number in ("C1", "C2"):
        booked(books, (number, {}))
        [root] = json.loads(run("seal", "--json").stdout)["roots"]
        assert (root["algorithm"], root["closes"]) == (algorithm, False)
    assert json.loads(run("seal", "--json").stdout) == {"blocks": 0, "postings": 0, "held_up": False, "roots": []}
    file = tmp_path / "proof.json"
    assert run("prove", "C1", "--out", str(file)).exit_code == 0
    assert run("verify", str(file), "--root", root["root"]).exit_code == 0
    monkeypatch.setenv("GONGJI_SEAL", "md5")
    with pytest.raises(UsageError, match="GONGJI_SEAL"):
        run("seal")


@pytest.mark.servers
def test_a_changed_posting_fails_the_check_and_cannot_be_proved(books: str) -> None:
    booked(books, ("C1", {}), ("C2", {}))
    run("seal")

    async def tamper() -> None:
        connection = await asyncpg.connect(books)
        await connection.execute("alter table account.posting disable trigger user")
        await connection.execute("update account.posting set amount = 6001 where amount = 6000 and journal_id = 1")
        await connection.close()

    asyncio.run(tamper())
    result = run("check", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["faults"] == [
        {"name": "journal 1 line 1 (H1/C1 claim)", "what": "is not what was sealed (block 1)"}
    ]
    with pytest.raises(Stop, match="is not what was sealed in block 1"):
        run("prove", "C1")
    assert run("prove", "C2").exit_code == 0


def test_the_chart_is_printed_for_people_and_machines() -> None:
    told = json.loads(run("chart", "--json").stdout)
    assert {row["side"] for row in told["accounts"]} == {"debit", "credit"}
    assert all(row["zh"] and row["en"] for row in (*told["accounts"], *told["entries"]))
    shown = run("chart").stdout
    assert all(word in shown for word in ("payable:<institution>", "统筹基金支出", "reversal", "撤销"))
