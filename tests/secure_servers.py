"""Kafka, Postgres and Redis that take nobody without encryption, a certificate of their authority, and a password."""

import os
import secrets
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from certificates import Pair, issue
from deployment import until

from deploy.local import database as local_postgres
from deploy.local.broker import _JVM, Broker, _java
from deploy.local.database import Database
from deploy.local.process import Process, free_port, run

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


@dataclass(frozen=True)
class SecureServers:
    """Where they are, whom they trust, and the one password that all three ask for."""

    home: Path
    kafka: str
    postgres: str = field(repr=False)
    redis: str = field(repr=False)
    authority: Path
    another: Path  # an authority that has issued none of their certificates
    password: str = field(repr=False)

    def environment(self, password: str | None = None) -> dict[str, str]:
        """The environment of a command, every secret in a file."""
        secret = password or self.password
        place = self.home / f"secrets-{secret[:6]}"
        place.mkdir(exist_ok=True)
        files = {"POSTGRES": self.postgres, "REDIS": self.redis, "KAFKA_PASSWORD": self.password}
        ours = {"GONGJI_HOME": str(self.home), "GONGJI_KAFKA": self.kafka, "GONGJI_KAFKA_USER": "gongji"}
        ours["GONGJI_KAFKA_TLS_CA"] = str(self.authority)
        for name, value in files.items():
            (place / name).write_text(value.replace(self.password, secret) + "\n")
            ours[f"GONGJI_{name}_FILE"] = str(place / name)
        return {name: value for name, value in os.environ.items() if not name.startswith("GONGJI_")} | ours


@contextmanager
def secure_servers(home: Path) -> Iterator[SecureServers]:
    """Started for the caller, and ended after it."""
    authority, issuer = issue(home, "authority")
    another, _ = issue(home, "another")
    server, _ = issue(home, "server", issuer)
    password = secrets.token_urlsafe(18)
    database = Database(home)
    kafka = Process("java", str(home / "kafka.properties"), home / "kafka.log")
    redis = Process("redis-server", str(home / "redis.conf"), home / "redis.log")
    try:
        postgres = _postgres(database, server, authority.certificate, password)
        made = SecureServers(
            home, _kafka(kafka, home, server, password), postgres, _redis(redis, home, server, authority.certificate, password),
            authority.certificate, another.certificate, password,
        )  # fmt: skip
        for address in (made.kafka, made.redis.rpartition("@")[2].partition("/")[0]):
            until(_listens(address), f"a server at {address}")
        yield made
    finally:
        for process in (kafka, redis, database.process):
            process.stop(signal.SIGINT if process is database.process else signal.SIGTERM, 20)
        database.erase()


def _listens(address: str) -> Callable[[], bool]:
    host, _, port = address.rpartition(":")

    def listens() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    return listens


def _kafka(process: Process, home: Path, server: Pair, password: str) -> str:
    port = free_port()
    chain = home / "kafka.pem"
    chain.write_bytes(server.key.read_bytes() + server.certificate.read_bytes())
    given = dict(line.split("=", 1) for line in Broker(home)._settings(port).splitlines())
    given |= {
        "listeners": given["listeners"].replace("PLAINTEXT:", "SASL_SSL:", 1),
        "advertised.listeners": f"SASL_SSL://127.0.0.1:{port}",
        "listener.security.protocol.map": "SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_SSL",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f'{_SCRAM} required username="gongji" password="{password}";',
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(chain),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(home / "authority.pem"),
        "log.dirs": str(home / "kafka"),
    }
    settings = Path(process.marker)
    settings.write_text("".join(f"{key}={value}\n" for key, value in given.items()))
    scram = f"SCRAM-SHA-512=[name=gongji,password={password}]"
    options = ("--cluster-id", "gHCVcfwgRrCe9ReJmBUEAA", "--config", str(settings), "--add-scram", scram)
    run((*_java(), "-Xmx128m", "kafka.tools.StorageTool", "format", *options))
    process.start((*_java(), *_JVM, "kafka.Kafka", str(settings)))
    return f"127.0.0.1:{port}"


def _postgres(database: Database, server: Pair, authority: Path, password: str) -> str:
    port = free_port()
    database.start(port)
    plain = database.address(port)
    until(lambda: _answers(plain), "postgres")
    with psycopg.connect(plain, autocommit=True) as owner:
        owner.execute(f"alter role gongji password '{password}'")
    for source, name in ((server.certificate, "server.crt"), (server.key, "server.key")):
        shutil.copy(source, database.data / name)
        (database.data / name).chmod(0o600)
        if user := local_postgres._system_user():
            shutil.chown(database.data / name, user)
    with (database.data / "postgresql.conf").open("a") as settings:
        settings.write("ssl = on\n")
    (database.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    database.process.send(signal.SIGHUP)
    secure = f"postgresql://gongji:{password}@127.0.0.1:{port}/gongji?sslmode=verify-full&sslrootcert={authority}"
    until(lambda: _answers(secure), "postgres over TLS")
    return secure


def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=3).close()
    except psycopg.OperationalError:
        return False
    return True


def _redis(process: Process, home: Path, server: Pair, authority: Path, password: str) -> str:
    port = free_port()
    program = shutil.which("redis-server")
    assert program is not None
    settings = (
        "bind 127.0.0.1", "port 0", f"tls-port {port}", f"tls-cert-file {server.certificate}", f"tls-key-file {server.key}",
        f"tls-ca-cert-file {authority}", "tls-auth-clients no", 'save ""', "set-proc-title no", f'dir "{home}"',
        "user default off", f"user gongji on >{password} ~gongji:* +@all -@dangerous",
    )  # fmt: skip
    Path(process.marker).write_text("\n".join(settings) + "\n")
    process.start((program, process.marker))
    return f"rediss://gongji:{password}@127.0.0.1:{port}/0?ssl_ca_certs={authority}"
