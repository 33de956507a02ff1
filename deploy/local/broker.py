"""Kafka: one node, broker and controller in one (KRaft), from jars that the set-up brought by Maven."""

import asyncio
import base64
import os
import secrets
import shutil
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.process import Process, free_port, run
from shared.errors import ServerMissing

JARS = Path(__file__).parent / "kafka" / "lib"
LOGGING = Path(__file__).parent / "kafka" / "log4j2.xml"
CLASSES = JARS / "classes.jsa"  # the broker's classes, read and checked once (deploy/local/class_archive.py)

_MIB = 1 << 20
_JVM = ("-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true")
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": 0,
    # After a kill the controller believes in the dead broker for as long, and lets no new one in.
    "broker.session.timeout.ms": 3_000,
    "broker.heartbeat.interval.ms": 500,
    # One node: nothing to replicate to.
    "default.replication.factor": 1,
    "min.insync.replicas": 1,
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    # Small internal topics: fewer files, quicker start.
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    # Records of 8 MiB and their envelope; what an outsider sends must reach the dead letters whole.
    "message.max.bytes": 9 * _MIB,
    "log.segment.bytes": 128 * _MIB,
    "log.retention.hours": 168,  # topics kept for ever say so themselves (deploy/topics.yaml)
    "log.cleaner.dedupe.buffer.size": 16 * _MIB,  # the default alone is a quarter of our heap
    "num.network.threads": 2,
    "num.io.threads": 4,
}


@dataclass(frozen=True)
class Broker:
    """The local Kafka whose data and settings are under `directory`."""

    directory: Path
    name: str = "kafka"
    gently: signal.Signals = signal.SIGTERM

    @property
    def process(self) -> Process:
        """The JVM, known by the settings file it was given."""
        return Process("java", str(self._settings_file), self.directory / "kafka.log")

    def address(self, port: int) -> str:
        """host:port for bootstrap."""
        return f"127.0.0.1:{port}"

    def start(self, port: int, *options: str) -> None:
        """Writes the settings, formats the storage the first time, and starts the broker; ``options`` go to the JVM."""
        self._settings_file.write_text(self._settings(port), encoding="utf-8")
        if not (self._data / "meta.properties").exists():
            shutil.rmtree(self._data, ignore_errors=True)  # a format that was interrupted
            # A first byte that is no hyphen, which the tool would take for an option.
            cluster_id = base64.urlsafe_b64encode(b"g" + secrets.token_bytes(15)).decode().rstrip("=")
            new = ("--cluster-id", cluster_id, "--config", str(self._settings_file))
            run((*_java(), "-Xmx128m", *_classes(), "kafka.tools.StorageTool", "format", *new))
        self.process.start((*_java(), *_JVM, *(options or _classes()), "kafka.Kafka", str(self._settings_file)))

    def ask(self, address: str) -> None:
        """Asks for the cluster's brokers. Raises OSError or KafkaError until one serves."""
        host, _, port = address.rpartition(":")
        # First the plain socket: aiokafka logs each refusal as an error.
        socket.create_connection((host, int(port)), timeout=3).close()
        asyncio.run(_ask_for_brokers(address))

    @property
    def _settings_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _settings(self, port: int) -> str:
        controller = free_port()
        settings = _SETTINGS | {
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": self._data,
        }
        return "".join(f"{key}={value}\n" for key, value in settings.items())


def _java() -> tuple[str, ...]:
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin" if home else None)
    if java is None:
        raise ServerMissing("kafka", "no Java: apt-get install openjdk-17-jre-headless, or `make setup`")
    if not any(JARS.glob("kafka_*.jar")):
        raise ServerMissing("kafka", f"no jars in {JARS}: `make setup` brings them by Maven")
    return java, "-cp", f"{JARS}/*", f"-Dlog4j2.configurationFile={LOGGING}"


def _classes() -> tuple[str, ...]:
    """The JVM's option for its archive of classes. One of another Java is passed over by the JVM, with a warning."""
    return (f"-XX:SharedArchiveFile={CLASSES}",) if CLASSES.exists() else ()


async def _ask_for_brokers(address: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=5_000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        if not cluster["brokers"]:
            raise ConnectionError("the controller answers, the broker is not yet there")
    finally:
        await admin.close()
