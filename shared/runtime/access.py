"""How Kafka is reached: the one place where its clients get addresses, encryption and credentials.

Postgres and Redis need no such place: their addresses (a DSN, a URL) say all of it, and their drivers read them.
"""

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import AuthenticationFailedError, KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from faststream.security import BaseSecurity, SASLPlaintext, SASLScram256, SASLScram512

from shared.errors import ServerMissing, UsageError
from shared.runtime.settings import given

_MECHANISMS: Final = {"SCRAM-SHA-512": SASLScram512, "SCRAM-SHA-256": SASLScram256, "PLAIN": SASLPlaintext}
_SYSTEM: Final = "system"  # for GONGJI_KAFKA_TLS_CA: the authorities this machine trusts
_REFUSALS: Final = (SaslAuthenticationFailed, AuthenticationFailedError, UnsupportedSaslMechanismError)
_PROBE_SECONDS: Final = 5


def kafka(bootstrap: str) -> dict[str, Any]:
    """What every client of Kafka is made with. Reads the environment anew, so that a new client has the newest password.

    Raises UsageError for settings that contradict each other or name files that cannot be read.
    """
    context = _context()
    options: dict[str, Any] = {"bootstrap_servers": bootstrap, "security_protocol": "SSL" if context else "PLAINTEXT"}
    if context:
        options["ssl_context"] = context
    user, password = given("GONGJI_KAFKA_USER"), given("GONGJI_KAFKA_PASSWORD")
    if (user is None) != (password is None):
        raise UsageError("GONGJI_KAFKA_USER and GONGJI_KAFKA_PASSWORD (or GONGJI_KAFKA_PASSWORD_FILE) go together: give both")
    if user is None:
        return options
    return options | {
        "security_protocol": "SASL_SSL" if context else "SASL_PLAINTEXT",
        "sasl_mechanism": _mechanism(encrypted=context is not None),
        "sasl_plain_username": user,
        "sasl_plain_password": password,
    }


def faststream_security(options: Mapping[str, Any]) -> BaseSecurity:
    """The same options in FastStream's words."""
    context = options.get("ssl_context")
    if "sasl_mechanism" not in options:
        return BaseSecurity(ssl_context=context)
    how = _MECHANISMS[options["sasl_mechanism"]]
    return how(options["sasl_plain_username"], options["sasl_plain_password"], ssl_context=context)


async def kafka_missing(bootstrap: str, trouble: Exception) -> ServerMissing:
    """Why a client cannot start, and the remedy: aiokafka itself keeps the reason to its log."""
    host, _, port = bootstrap.partition(",")[0].rpartition(":")
    options = {name: value for name, value in kafka(bootstrap).items() if name != "bootstrap_servers"}
    why: BaseException = trouble
    try:
        connection = await create_conn(host, int(port), request_timeout_ms=_PROBE_SECONDS * 1000, **options)
        connection.close()
    except (KafkaError, OSError, TimeoutError, ValueError, asyncio.CancelledError) as reason:
        why = reason
    return ServerMissing("kafka", f"{bootstrap}: {type(why).__name__}: {why}; {_remedy(why)}")


def _remedy(why: BaseException) -> str:
    if isinstance(why, _REFUSALS):
        return "it refuses GONGJI_KAFKA_USER, its password or GONGJI_KAFKA_MECHANISM: see whether they are the broker's"
    if isinstance(why, ssl.SSLError):
        return "GONGJI_KAFKA_TLS_CA must be the authority of its certificate, and GONGJI_KAFKA name it as the certificate does"
    return "start it (gongji servers up) or set GONGJI_KAFKA; a broker that wants TLS needs GONGJI_KAFKA_TLS_CA"


def _mechanism(*, encrypted: bool) -> str:
    mechanism = given("GONGJI_KAFKA_MECHANISM") or next(iter(_MECHANISMS))
    if mechanism not in _MECHANISMS:
        raise UsageError(f"GONGJI_KAFKA_MECHANISM={mechanism!r}: one of {', '.join(_MECHANISMS)} is needed")
    if mechanism == "PLAIN" and not encrypted:
        raise UsageError("GONGJI_KAFKA_MECHANISM=PLAIN sends the password itself: set GONGJI_KAFKA_TLS_CA, or use SCRAM-SHA-512")
    return mechanism


def _context() -> ssl.SSLContext | None:
    """TLS 1.2 or newer, the broker's certificate and host name always checked; None without an authority."""
    authority = given("GONGJI_KAFKA_TLS_CA")
    certificate, key = given("GONGJI_KAFKA_TLS_CERT"), given("GONGJI_KAFKA_TLS_KEY")
    if authority is None:
        if certificate or key:
            raise UsageError(f"GONGJI_KAFKA_TLS_CERT needs GONGJI_KAFKA_TLS_CA: a file, or `{_SYSTEM}` for this machine's own")
        return None
    if bool(certificate) != bool(key):
        raise UsageError("GONGJI_KAFKA_TLS_CERT and GONGJI_KAFKA_TLS_KEY go together: give both")
    try:
        context = ssl.create_default_context(cafile=None if authority == _SYSTEM else str(Path(authority)))
        if certificate and key:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as trouble:
        raise UsageError(f"GONGJI_KAFKA_TLS_CA, _CERT, _KEY: {trouble}; each is a PEM file that this user may read") from trouble
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
