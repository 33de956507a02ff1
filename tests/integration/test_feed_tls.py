"""``gongji feed send --http https://…``: whom it trusts, what it shows, and what it says where that is not enough."""

import json
import signal
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from certificates import Pair, issue
from counter_world import INSTITUTIONS, address_of, claim, world
from servers import LocalServers
from typer.testing import CliRunner

from services.intake.api_server import Door, listening
from services.ops.feed import app as command
from services.ops.feed_http import Answered, TlsFiles, send_over_http
from shared.errors import ServerMissing, UsageError


async def settles(_scope: Any, receive: Any, send: Any) -> None:
    """A counter that settles each line."""
    said = await receive()
    body = said["body"]
    while said["more_body"]:
        said = await receive()
        body += said["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'{"type":"settlement","outcome":"settled"}\n' * body.count(b"\n")})


class Files(NamedTuple):
    authority: Path
    counter: Pair
    hospital: Pair
    another: Pair  # an authority that nobody knows
    stranger: Pair


@pytest.fixture
def files(tmp_path: Path) -> Files:
    ours, authority = issue(tmp_path, "authority")
    another, unknown = issue(tmp_path, "another")
    issued = [
        issue(tmp_path, name, by)[0] for name, by in (("counter", authority), ("hospital", authority), ("stranger", unknown))
    ]
    return Files(ours.certificate, issued[0], issued[1], another, issued[2])


def door(files: Files, *, mutual: bool) -> AbstractAsyncContextManager[str]:
    pair = files.counter
    asks_for = str(files.authority) if mutual else None
    return listening(settles, Door("127.0.0.1", 0, 1.0, str(pair.certificate), str(pair.key), asks_for))


async def send(url: str, *files: Path | None, patience: float = 0.1) -> Answered:
    lines = [("day", number, b"{}\n") for number in (1, 2)]
    return await send_over_http(url, "key", lines, tls=TlsFiles(*files), show=False, say=lambda _: None, patience=patience)


async def test_a_private_authority_is_trusted_when_it_is_given(files: Files) -> None:
    async with door(files, mutual=False) as url:
        assert (await send(url, files.authority)).outcomes == 2


async def test_the_certificate_is_shown_where_the_counter_asks_for_one(files: Files) -> None:
    both = files.stranger.certificate.with_name("both.pem")
    both.write_bytes(files.hospital.certificate.read_bytes() + files.hospital.key.read_bytes())
    async with door(files, mutual=True) as url:
        assert (await send(url, files.authority, *files.hospital)).outcomes == 2
        assert (await send(url, files.authority, both)).outcomes == 2, "the key may be in the same file"


@pytest.mark.parametrize("given", ["another authority", "none"])
async def test_a_counter_of_an_unknown_authority_is_not_asked_again(files: Files, given: str) -> None:
    authority = files.another.certificate if given == "another authority" else None
    async with door(files, mutual=False) as url:
        began = time.monotonic()
        with pytest.raises(ServerMissing, match=r"CERTIFICATE_VERIFY_FAILED.*give its certificate's authority with --tls-ca"):
            await send(url, authority, patience=60)
        assert time.monotonic() - began < 30, "waiting does not mend it"


async def test_the_name_in_the_url_must_be_the_certificates(files: Files) -> None:
    async with door(files, mutual=False) as url:
        with pytest.raises(ServerMissing, match=r"Hostname mismatch.*in the URL the name that the certificate has"):
            await send(url.replace("127.0.0.1", "localhost"), files.authority)


@pytest.mark.parametrize("shown", ["none", "another authority's"])
async def test_who_shows_no_certificate_that_the_counter_takes_hears_of_it(files: Files, shown: str) -> None:
    pair = files.stranger if shown != "none" else ()
    async with door(files, mutual=True) as url:
        with pytest.raises(ServerMissing, match="give with --tls-cert what it takes if it asks for one"):
            await send(url, files.authority, *pair)


async def test_a_plain_url_of_a_counter_with_tls_is_said(files: Files) -> None:
    async with door(files, mutual=False) as url:
        with pytest.raises(ServerMissing, match="https where it has TLS"):
            await send(url.replace("https:", "http:"))


async def test_files_of_no_use_are_named_before_anybody_is_asked(files: Files, tmp_path: Path) -> None:
    url = "https://127.0.0.1:1"
    (tmp_path / "no.pem").write_text("no certificate")
    for wrong in (tmp_path / "nowhere.pem", tmp_path / "no.pem", tmp_path):
        with pytest.raises(UsageError, match=f"--tls-ca {wrong}: .*authority are needed, in PEM"):
            await send(url, wrong)
        with pytest.raises(UsageError, match=f"--tls-cert {wrong}, --tls-key .*key: .*its own key are needed"):
            await send(url, files.authority, wrong, files.hospital.key)
    with pytest.raises(UsageError, match=r"--tls-cert .*, --tls-key .*stranger.key: KEY_VALUES_MISMATCH"):
        await send(url, files.authority, files.hospital.certificate, files.stranger.key)
    with pytest.raises(UsageError, match=r"--tls-key .*: give --tls-cert too"):
        await send(url, files.authority, None, files.hospital.key)


async def test_files_for_a_door_without_tls_are_never_left_out_in_silence(files: Files) -> None:
    with pytest.raises(UsageError, match=r"'http://.*has no TLS"):
        await send("http://127.0.0.1:1", files.authority)


def test_files_without_http_are_never_left_out_in_silence(files: Files) -> None:
    done = CliRunner().invoke(command, ["send", "-", "--tls-ca", str(files.authority)])
    assert isinstance(done.exception, UsageError)
    assert "are for --http" in str(done.exception)


def test_the_command_settles_a_day_at_a_counter_with_mutual_tls(
    private_servers: LocalServers, files: Files, tmp_path: Path
) -> None:
    day = tmp_path / "day.ndjson"
    day.write_text(json.dumps(claim()) + "\n")
    with world(private_servers) as counter:
        [plain] = counter.deployment.of("intake")
        counter.deployment.kill(plain, signal.SIGTERM)
        tls = {"CERT": files.counter.certificate, "CERT_KEY": files.counter.key, "CLIENT_CA": files.authority}
        [intake] = counter.deployment.start("intake", **{f"GONGJI_API_{name}": str(file) for name, file in tls.items()})
        shown = ["--tls-ca", files.authority, "--tls-cert", files.hospital.certificate, "--tls-key", files.hospital.key]
        command = ["feed", "send", "--http", address_of(intake), "--json", *map(str, shown), str(day)]
        done = counter.deployment.command(*command, GONGJI_KEY=counter.keys[INSTITUTIONS[0]])
    assert (done.returncode, json.loads(done.stdout)["outcome"]) == (0, "settled"), done.stderr
