"""Encryption and credentials between the program and its servers: a day settles with them, and nothing goes without.

What that day leaves in logs, on pages and in commands for operators holds no secret, and nobody's identity (I18).
"""

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import psycopg
import pytest
from deployment import Line, day, until
from secure_servers import SecureServers, secure_servers

from shared.errors import ServerMissing
from shared.events import SERVICES
from shared.runtime import topics
from shared.runtime.cache import Cache
from shared.runtime.database import reach

WRONG = "Wr0ngWr0ngWr0ng"


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureServers]:
    with tempfile.TemporaryDirectory(prefix="gongji-secure-") as home, secure_servers(Path(home)) as made:
        yield made


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return day(150, seed=7)


@pytest.fixture(scope="module")
def identities(lines: Sequence[Line]) -> set[str]:
    """Everybody of the day."""
    found = {line[name] for line in lines for name in ("member_id", "holder_id", "beneficiary_id") if name in line}
    assert len(found) > 50
    return found


@pytest.fixture(scope="module")
def settled(secure: SecureServers, lines: Sequence[Line]) -> Path:
    """A small day with broken records, sent to and settled by the five services, with questions at the counter.

    Returns what they wrote to their log; beside it, in ``pages``, what they answered.
    """
    feed, log = secure.home / "day.ndjson", secure.home / "services.log"
    claims = [json.dumps(line, ensure_ascii=False) for line in lines]
    feed.write_text("\n".join([*claims, *broken(next(line for line in lines if line["type"] == "claim"))]) + "\n")
    with serving(secure, log):
        sent = command(secure, "feed", "send", str(feed), "--wait")
        pages = asked(secure, log, lines)
    (secure.home / "pages").write_text(pages + sent.stderr)
    assert sent.returncode == 1, sent.stderr[-3000:] + log.read_text()[-3000:]
    return log


def broken(claim: Line) -> list[str]:
    """A claim spoiled in ways that are answered, and in ways that make a dead letter."""
    whole = json.dumps(claim | {"claim_no": "broken"})
    return [
        json.dumps(claim | {"claim_no": "bad-benefit", "benefit": claim["member_id"]}),
        json.dumps(claim | {"claim_no": "bad-field", claim["member_id"]: 1}),
        json.dumps(claim | {"claim_no": "bad-sum", "total": "0.01"}),
        json.dumps(claim | {"claim_no": claim["member_id"], "visited_at": claim["member_id"]}),
        whole[:-1],
        whole[:-1] + f', "{claim["member_id"]}": 1, "{claim["member_id"]}": 2}}',
        whole[:-1] + f', "x": {claim["member_id"]}}}',
        json.dumps(claim["member_id"]),
    ]


def asked(secure: SecureServers, log: Path, lines: Sequence[Line]) -> str:
    """What the services' pages show, and what the counter answers to questions that go wrong."""
    claim = next(line for line in lines if line["type"] == "claim")
    made = command(secure, "institution", "key", "create", claim["institution_id"], "--reason", "test")
    key = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
    shown = log.read_text()
    addresses = re.findall(r" ready \((http://[^)]+)\)", shown)
    counter = shown.partition("gongji: counter at ")[2].split()[0]
    answers = [answer(f"{url}/{page}") for url in addresses for page in ("metrics", "ready", "asyncapi")]
    of_member = f"{counter}/v1/members/{claim['member_id']}"
    for headers in (key, {"Authorization": "Bearer nobody"}):
        told = [answer(f"{counter}/v1/claims", line.encode(), headers) for line in broken(claim)]
        told += [answer(f"{of_member}/{rest}", None, headers) for rest in ("nothing", f"counters?on={claim['member_id']}")]
        if headers is not key:  # the institution is told about its own record in its own words
            answers += told
    return "\n".join(answers)


@contextmanager
def serving(secure: SecureServers, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services", "serve", "all"], env=secure.environment(), stdout=output, stderr=output
        )
    try:
        until(lambda: log.read_text().count(" ready (") == len(SERVICES), lambda: f"the services: {log.read_text()[-3000:]}", 200)
        assert_no_process_shows(secure.password)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def command(secure: SecureServers, *arguments: str, password: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        env=secure.environment(password), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def assert_no_process_shows(secret: str) -> None:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            shown = file.read_bytes()
        except OSError:  # it has ended
            continue
        assert secret.encode() not in shown, f"{file} shows a password"


def answer(url: str, body: bytes | None = None, headers: Mapping[str, str] = MappingProxyType({})) -> str:
    """Status and body, whatever they are."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Prefer": "wait=1"} | dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=30) as answered:
            return f"{answered.status} {answered.read().decode()}"
    except urllib.error.HTTPError as refused:
        with refused:
            return f"{refused.status} {refused.read().decode()}"


def test_a_day_settles_and_its_books_are_clean(secure: SecureServers, settled: Path) -> None:
    audit = command(secure, "audit", "--json")
    assert audit.returncode == 0, audit.stdout[-3000:] + audit.stderr[-3000:]
    rows = {check["name"]: check["rows"] for check in json.loads(audit.stdout)["checks"]}
    assert max(rows.values()) > 150, f"nothing was audited: {rows}"
    assert "redis is not there" not in settled.read_text()


def test_no_identity_is_in_what_operators_read(secure: SecureServers, settled: Path, identities: set[str]) -> None:
    written = {log.name: log.read_text(errors="replace") for log in secure.home.glob("*.log")}
    written["pages"] = (secure.home / "pages").read_text()
    written |= {" ".join(verb): _said(command(secure, *verb)) for verb in (("audit", "--json"), ("dead", "list", "--json"))}
    with psycopg.connect(secure.postgres) as owner:
        written["details"] = "\n".join(row[0] for row in owner.execute("select detail || reason from runtime.quarantine"))
    assert written["details"].count("unreadable") >= 3, "no dead letters"
    assert "gongji_records_total" in written["pages"]
    assert '"message": "request"' in settled.read_text(), "no access log"
    leaks = [(name, one) for name, text in written.items() for one in identities if one in text]
    assert not leaks, leaks


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout + done.stderr


def test_no_secret_is_in_a_log(secure: SecureServers, settled: Path) -> None:
    for log in (settled, *secure.home.glob("*.log")):
        assert secure.password not in log.read_text(errors="replace"), f"{log} holds the password"


@pytest.mark.parametrize(
    ("server", "remedy"), [("kafka", "refuses GONGJI_KAFKA_USER"), ("postgres", "GONGJI_POSTGRES"), ("redis", "GONGJI_REDIS")]
)
def test_a_wrong_password_is_exit_3_with_server_and_remedy_and_without_the_password(
    secure: SecureServers, settled: Path, server: str, remedy: str
) -> None:
    assert settled.exists()
    variable = {"kafka": "GONGJI_KAFKA_PASSWORD_FILE"}.get(server, f"GONGJI_{server.upper()}_FILE")
    environment = secure.environment() | {variable: secure.environment(WRONG)[variable]}
    done = subprocess.run(
        [sys.executable, "-m", "services", "audit"], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 3, done.stderr
    assert f"gongji: {server}: " in done.stderr
    assert remedy in done.stderr
    assert WRONG not in done.stdout + done.stderr
    assert secure.password not in done.stdout + done.stderr


@pytest.fixture
def inside(secure: SecureServers, monkeypatch: pytest.MonkeyPatch) -> SecureServers:
    """The commands' environment in this process."""
    for name, value in secure.environment().items():
        if name.startswith("GONGJI_"):
            monkeypatch.setenv(name, value)
    return secure


def kafka_refuses(bootstrap: str) -> str:
    with pytest.raises(ServerMissing) as raised:
        asyncio.run(topics.prepare(bootstrap, 8))
    assert raised.value.server == "kafka"
    return raised.value.remedy


def postgres_refuses(dsn: str) -> str:
    with pytest.raises(ServerMissing) as raised:
        asyncio.run(reach(dsn))
    return raised.value.remedy


def redis_refuses(url: str) -> str:
    async def ask() -> str:
        cache = Cache(url, "test")
        try:
            return await cache.away()
        finally:
            await cache.close()

    why = asyncio.run(ask())
    assert why, "Redis answered"
    return why


def test_plaintext_is_refused(inside: SecureServers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sslmode=verify-full" in postgres_refuses(inside.postgres.partition("?")[0] + "?sslmode=disable")
    redis_refuses(inside.redis.replace("rediss://", "redis://").partition("?")[0])
    monkeypatch.delenv("GONGJI_KAFKA_TLS_CA")
    assert "GONGJI_KAFKA_TLS_CA" in kafka_refuses(inside.kafka)


def test_a_server_of_another_authority_is_refused(inside: SecureServers, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, another = str(inside.authority), str(inside.another)
    assert "sslrootcert" in postgres_refuses(inside.postgres.replace(ours, another))
    assert "certificate verify failed" in redis_refuses(inside.redis.replace(ours, another))
    monkeypatch.setenv("GONGJI_KAFKA_TLS_CA", another)
    assert "GONGJI_KAFKA_TLS_CA must be the authority" in kafka_refuses(inside.kafka)


def test_a_server_under_another_name_is_refused(inside: SecureServers) -> None:
    assert "sslrootcert" in postgres_refuses(inside.postgres.replace("127.0.0.1", "localhost"))
    assert "certificate verify failed" in redis_refuses(inside.redis.replace("127.0.0.1", "localhost"))
    assert "name it as the certificate does" in kafka_refuses(inside.kafka.replace("127.0.0.1", "localhost"))
