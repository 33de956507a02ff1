"""The servers as containers, for machines with a Docker engine: images and settings of docker-compose.yml."""

import secrets
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.local.database import OWNER
from deploy.local.process import free_port

_COMPOSE = Path(__file__).parents[1] / "docker-compose.yml"


def engine_answers() -> bool:
    """Whether a Docker engine is there; asked in a process of its own, as the client leaves a socket open when there is none."""
    question = "import docker; docker.from_env(timeout=5).ping()"
    return subprocess.run([sys.executable, "-c", question], capture_output=True, check=False).returncode == 0


@contextmanager
def running() -> Iterator[tuple[str, str, str]]:
    """The addresses of Kafka, Postgres and Redis in containers that live as long as the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of testcontainers itself
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415
        from testcontainers.core.waiting_utils import wait_for_logs  # noqa: PLC0415

    services = yaml.safe_load(_COMPOSE.read_text(encoding="utf-8"))["services"]
    port, password = free_port(), secrets.token_hex(16)
    kafka = _with_environment(DockerContainer(services["kafka"]["image"]), services["kafka"]["environment"])
    kafka.with_env("KAFKA_ADVERTISED_LISTENERS", f"PLAINTEXT://kafka:9092,HOST://127.0.0.1:{port}")
    kafka.with_bind_ports(29092, port)
    postgres = DockerContainer(services["postgres"]["image"]).with_exposed_ports(5432)
    postgres.with_env("POSTGRES_PASSWORD", password)
    postgres.with_volume_mapping(str(OWNER), "/docker-entrypoint-initdb.d/owner.sql", "ro")
    redis = DockerContainer(services["redis"]["image"]).with_exposed_ports(6379)
    redis.with_command(services["redis"]["command"])
    with kafka, postgres, redis:
        wait_for_logs(kafka, "Kafka Server started", timeout=90)
        # Its entrypoint starts it twice: once to run the SQL, once to serve.
        wait_for_logs(postgres, "(?s)ready to accept connections.*ready to accept connections", timeout=90)
        wait_for_logs(redis, "Ready to accept connections", timeout=30)
        postgres.exec(["psql", "-U", "postgres", "-c", f"alter role gongji password '{password}'"])
        yield (
            f"127.0.0.1:{port}",
            f"postgresql://gongji:{password}@127.0.0.1:{postgres.get_exposed_port(5432)}/gongji",
            f"redis://127.0.0.1:{redis.get_exposed_port(6379)}/0",
        )


def _with_environment(container: Any, environment: dict[str, str]) -> Any:
    for name, value in environment.items():
        container.with_env(name, value)
    return container
