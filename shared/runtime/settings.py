"""What is varied between deployments: one frozen object, read once from the environment (`GONGJI_*`)."""

import json
import logging
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from shared.errors import ServerMissing, UsageError

_REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Settings:
    """Addresses of the servers, places of files, sizes. Secrets are kept out of its repr."""

    kafka: str  # host:port for bootstrap, several with commas
    postgres: str = field(repr=False)  # DSN of the owner of the database
    redis: str = field(repr=False)  # URL, perhaps with a password
    home: Path
    partitions: int
    batch_max: int  # records a transaction at most
    policies: Path
    parameters: Path | None  # the operator's figures (contract.md, section 4)
    log_level: str
    identity_secret: bytes = field(repr=False)  # key of the hash by which member ids are shown
    seal: str  # the digest that new blocks of the ledger are sealed with

    @classmethod
    def load(cls) -> Self:
        """Reads the environment, and for servers not named there `<home>/servers.json`.

        Raises ServerMissing for a server that is in neither or not running, UsageError for a value that makes
        no sense.
        """
        home = home_directory()
        local = _local_servers(home)
        parameters = os.environ.get("GONGJI_PARAMETERS")
        return cls(
            kafka=_address("kafka", local),
            postgres=_address("postgres", local),
            redis=_address("redis", local),
            home=home,
            partitions=_positive("GONGJI_PARTITIONS", 8),
            batch_max=_positive("GONGJI_BATCH_MAX", 500),
            policies=policies_directory(),
            parameters=Path(parameters) if parameters else None,
            log_level=_log_level(),
            identity_secret=_identity_secret(home),
            seal=_one_of("GONGJI_SEAL", ("sm3", "sha256")),
        )


def home_directory() -> Path:
    """Where local data is: $GONGJI_HOME, or `.gongji` in the working directory."""
    return Path(os.environ.get("GONGJI_HOME") or ".gongji").absolute()


def policies_directory() -> Path:
    """Where the policy packs are: $GONGJI_POLICIES, or those that come with the program."""
    return Path(os.environ.get("GONGJI_POLICIES") or _REPOSITORY / "policies")


def given(variable: str) -> str | None:
    """The value of a variable, or of the file that ``<variable>_FILE`` names: a file is in no list of processes.

    Raises UsageError when both are given, or the file cannot be read.
    """
    value, file = os.environ.get(variable), os.environ.get(f"{variable}_FILE")
    if not file:
        return value or None
    if value:
        raise UsageError(f"{variable} and {variable}_FILE are both set: which of them holds?")
    try:
        return Path(file).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as trouble:
        raise UsageError(f"{variable}_FILE: {file} cannot be read ({type(trouble).__name__})") from trouble


def _local_servers(home: Path) -> Mapping[str, Any]:
    try:
        found: dict[str, Any] = json.loads((home / "servers.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found


def _address(server: str, local: Mapping[str, Any]) -> str:
    variable = f"GONGJI_{server.upper()}"
    if address := given(variable):
        _check_address(server, variable, address)
        return address
    if local and local["pids"][server]:
        return str(local[server])
    raise ServerMissing(server, f"start the local servers with `gongji servers up`, or set {variable}")


def shown(address: str) -> str:
    """An address as it may be printed: without its password."""
    return re.sub(r"^(\w+://[^:/?#@]*):.*@", r"\1:***@", address)


def _check_address(server: str, variable: str, address: str) -> None:
    """Raises UsageError for an address that drivers would choke on: they would print parts of it, perhaps of its password."""
    if server == "kafka":
        good = "@" not in address and all(re.fullmatch(r".+:\d+", one.strip()) for one in address.split(","))
        form = "host:port, several with commas"
    else:
        schemes = {"postgres": ("postgresql", "postgres"), "redis": ("redis", "rediss")}[server]
        form = f"{schemes[0]}://user:password@host:port/…, and special characters of the password as %XX"
        try:
            url = urlsplit(address)
            good = url.scheme in schemes and url.port != 0  # reading the port is what fails
        except ValueError:
            good = False
    if not good:
        raise UsageError(f"{variable}: this is no address of {server.capitalize()}; it has the form {form}")


def _positive(variable: str, default: int) -> int:
    value = os.environ.get(variable)
    if not value:
        return default
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise UsageError(f"{variable}={value!r}: a whole number above 0 is needed")
    return int(value)


def _one_of(variable: str, words: tuple[str, ...]) -> str:
    word = os.environ.get(variable) or words[0]
    if word not in words:
        raise UsageError(f"{variable}={word!r}: one of {', '.join(words)} is needed")
    return word


def _log_level() -> str:
    word, words = os.environ.get("GONGJI_LOG_LEVEL") or "INFO", logging.getLevelNamesMapping()
    if word.upper() not in words:
        raise UsageError(f"GONGJI_LOG_LEVEL={word!r}: one of {', '.join(words)} is needed")
    return word.upper()


def _identity_secret(home: Path) -> bytes:
    """The key given, or one made once and kept (0600): several processes must show the same hash."""
    if secret := given("GONGJI_IDENTITY_SECRET"):
        return secret.encode()
    kept = home / "identity.secret"
    if not kept.exists():
        home.mkdir(parents=True, exist_ok=True)
        new = kept.with_suffix(f".{os.getpid()}")
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(32))
        try:
            os.link(new, kept)  # whoever comes first; a second process finds it whole
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return kept.read_bytes()
