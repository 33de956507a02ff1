"""Where the servers are, and what else a deployment varies: the environment first, then the local servers."""

import json
import ssl
import stat
from pathlib import Path

import pytest

from shared.errors import ServerMissing, UsageError
from shared.runtime import access
from shared.runtime.settings import Settings, home_directory, policies_directory, shown

LOCAL = {"kafka": "127.0.0.1:1", "postgres": "postgresql://local/gongji", "redis": "redis://local/0"}
RUNNING = {"kafka": 11, "postgres": 12, "redis": 13}
GIVEN = {"GONGJI_KAFKA": "k:9092", "GONGJI_POSTGRES": "postgresql://given/gongji", "GONGJI_REDIS": "redis://given/0"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        *GIVEN,
        "GONGJI_PARTITIONS",
        "GONGJI_BATCH_MAX",
        "GONGJI_POLICIES",
        "GONGJI_PARAMETERS",
        "GONGJI_IDENTITY_SECRET",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GONGJI_HOME", str(tmp_path))
    return tmp_path


def write_state(home: Path, pids: dict[str, int]) -> None:
    (home / "servers.json").write_text(json.dumps({**LOCAL, "pids": pids}))


def test_local_servers_are_used_when_the_environment_names_none(home: Path) -> None:
    write_state(home, RUNNING)
    settings = Settings.load()
    assert (settings.kafka, settings.postgres, settings.redis) == tuple(LOCAL.values())


def test_the_environment_goes_before_the_local_servers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_state(home, RUNNING)
    monkeypatch.setenv("GONGJI_KAFKA", "elsewhere:9092")
    settings = Settings.load()
    assert (settings.kafka, settings.redis) == ("elsewhere:9092", LOCAL["redis"])


@pytest.mark.parametrize("server", ["kafka", "postgres", "redis"])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_is_nowhere_or_stopped_is_named_with_the_remedy(
    home: Path, monkeypatch: pytest.MonkeyPatch, server: str, known: bool
) -> None:
    if known:
        write_state(home, {**RUNNING, server: 0})
    else:
        for name in set(GIVEN) - {f"GONGJI_{server.upper()}"}:
            monkeypatch.setenv(name, GIVEN[name])
    with pytest.raises(ServerMissing, match=f"gongji servers up.*GONGJI_{server.upper()}") as raised:
        Settings.load()
    assert raised.value.server == server


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("given")
def test_what_is_not_given_has_its_default(home: Path) -> None:
    settings = Settings.load()
    assert (settings.partitions, settings.batch_max, settings.parameters) == (8, 500, None)
    assert settings.home == home
    assert settings.policies.is_dir()


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize("value", ["0", "-1", "eight", "1.5", "８"])
@pytest.mark.parametrize("variable", ["GONGJI_PARTITIONS", "GONGJI_BATCH_MAX"])
def test_a_size_that_is_no_number_above_zero_is_a_usage_error_that_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable):
        Settings.load()


@pytest.mark.usefixtures("given")
def test_a_level_of_the_log_is_one_of_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for word, level in (("", "INFO"), ("debug", "DEBUG"), ("WARN", "WARN")):
        monkeypatch.setenv("GONGJI_LOG_LEVEL", word)
        assert Settings.load().log_level == level
    monkeypatch.setenv("GONGJI_LOG_LEVEL", "LOUD")
    with pytest.raises(UsageError, match=r"GONGJI_LOG_LEVEL='LOUD': one of .*WARNING"):
        Settings.load()


@pytest.mark.usefixtures("given")
def test_the_key_of_shown_identities_is_made_once_and_only_its_owner_may_read_it(home: Path) -> None:
    first, second = Settings.load().identity_secret, Settings.load().identity_secret
    assert first == second
    assert len(first) == 32
    assert stat.S_IMODE((home / "identity.secret").stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == ["identity.secret"]


@pytest.mark.usefixtures("given")
def test_secrets_do_not_show_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_IDENTITY_SECRET", "very-secret-key")
    printed = repr(Settings.load())
    assert "very-secret-key" not in printed
    assert GIVEN["GONGJI_POSTGRES"] not in printed
    assert GIVEN["GONGJI_REDIS"] not in printed
    assert GIVEN["GONGJI_KAFKA"] in printed


@pytest.mark.usefixtures("given")
def test_what_is_secret_may_be_given_as_a_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "dsn").write_text("postgresql://of:file@host/gongji\n")
    monkeypatch.setenv("GONGJI_POSTGRES_FILE", str(home / "dsn"))
    with pytest.raises(UsageError, match="GONGJI_POSTGRES and GONGJI_POSTGRES_FILE"):
        Settings.load()
    monkeypatch.delenv("GONGJI_POSTGRES")
    assert Settings.load().postgres == "postgresql://of:file@host/gongji"
    (home / "dsn").unlink()
    with pytest.raises(UsageError, match=r"GONGJI_POSTGRES_FILE: .*dsn cannot be read"):
        Settings.load()


@pytest.mark.usefixtures("given")
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GONGJI_POSTGRES", "postgresql://gongji:s3cret/word@host/gongji"),
        ("GONGJI_POSTGRES", "host=h password=s3cret"),
        ("GONGJI_REDIS", "redis://:s3cret#word@host/0"),
        ("GONGJI_REDIS", "http://:s3cret@host/0"),
        ("GONGJI_KAFKA", "gongji:s3cret@broker:9092"),
    ],
)
def test_an_address_that_cannot_be_read_is_a_usage_error_without_the_address(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable) as raised:
        Settings.load()
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "printed"),
    [
        ("postgresql://gongji:p@ss:w@host:1/db?sslmode=verify-full", "postgresql://gongji:***@host:1/db?sslmode=verify-full"),
        ("rediss://:word@host:1/0", "rediss://:***@host:1/0"),
        ("redis://host:1/0", "redis://host:1/0"),
    ],
)
def test_an_address_is_printed_without_its_password(address: str, printed: str) -> None:
    assert shown(address) == printed


def kafka_variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("USER", "PASSWORD", "PASSWORD_FILE", "MECHANISM", "TLS_CA", "TLS_CERT", "TLS_KEY"):
        monkeypatch.delenv(f"GONGJI_KAFKA_{name}", raising=False)
    for name, value in values.items():
        monkeypatch.setenv(f"GONGJI_KAFKA_{name}", value)


def test_a_client_of_kafka_gets_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka_variables(monkeypatch)
    assert access.kafka("k:1") == {"bootstrap_servers": "k:1", "security_protocol": "PLAINTEXT"}
    kafka_variables(monkeypatch, TLS_CA="system")
    assert access.kafka("k:1")["ssl_context"].check_hostname
    kafka_variables(monkeypatch, TLS_CA="system", USER="gongji", PASSWORD="word", MECHANISM="SCRAM-SHA-256")
    options = access.kafka("k:1")
    assert options.pop("ssl_context").verify_mode == ssl.CERT_REQUIRED
    assert options == {
        "bootstrap_servers": "k:1", "security_protocol": "SASL_SSL", "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "gongji", "sasl_plain_password": "word",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"USER": "gongji"}, "go together"),
        ({"PASSWORD": "word"}, "go together"),
        ({"USER": "gongji", "PASSWORD": "word", "MECHANISM": "MD5"}, "one of SCRAM-SHA-512"),
        ({"USER": "gongji", "PASSWORD": "word", "MECHANISM": "PLAIN"}, "sends the password itself"),
        ({"TLS_CERT": "cert.pem"}, "needs GONGJI_KAFKA_TLS_CA"),
        ({"TLS_CA": "system", "TLS_CERT": "cert.pem"}, "go together"),
        ({"TLS_CA": "nowhere.pem"}, "a PEM file that this user may read"),
    ],
)
def test_settings_of_kafka_that_contradict_each_other_are_usage_errors(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], message: str
) -> None:
    kafka_variables(monkeypatch, **values)
    with pytest.raises(UsageError, match=message):
        access.kafka("k:1")


def test_places_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GONGJI_POLICIES", "/somewhere/packs")
    assert policies_directory() == Path("/somewhere/packs")
    monkeypatch.delenv("GONGJI_HOME")
    assert home_directory() == Path.cwd() / ".gongji"
