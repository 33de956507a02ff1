"""The set-up on a machine where something is missing and nobody may install it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = ("sh", "cat", "cut", "dirname", "env", "flock", "grep", "ls", "mkdir", "rm", "sed", "sha256sum")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh checkout as far as the set-up looks at it."""
    for name in ("deploy/setup.sh", "deploy/requirements.lock", "deploy/local/kafka/pom.xml", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A PATH of a machine with nothing but the plainest tools, to a user who is not root and has no sudo."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PLAIN:
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    (programs / "id").write_text("#!/bin/sh\necho 1000\n")
    (programs / "id").chmod(0o755)
    return programs


def set_up(checkout: Path, path: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(path), "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(
        [checkout / "deploy/setup.sh"], env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_what_is_missing_is_said_once_with_the_command_that_brings_it(checkout: Path, bare_path: Path) -> None:
    done = set_up(checkout, bare_path)
    assert done.returncode == 1
    missing, command = done.stderr.splitlines()
    for package in ("openjdk-17-jre-headless", "maven", "redis-server"):
        assert package in missing.split()
    packages = missing.partition("missing: ")[2]
    assert command.endswith(f"apt-get update && apt-get install -y --no-install-recommends {packages}")


def test_nothing_is_begun_while_something_is_missing(checkout: Path, bare_path: Path) -> None:
    set_up(checkout, bare_path)
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".gongji").exists()


def test_a_program_that_is_there_is_not_asked_for(checkout: Path, bare_path: Path) -> None:
    (bare_path / "redis-server").symlink_to("/bin/true")
    (bare_path / "java").write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    (bare_path / "java").chmod(0o755)
    missing = set_up(checkout, bare_path).stderr
    assert "maven" in missing
    assert "redis-server" not in missing
    assert "openjdk" not in missing


def test_a_java_that_kafka_cannot_run_on_is_missing(checkout: Path, bare_path: Path) -> None:
    (bare_path / "java").write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    (bare_path / "java").chmod(0o755)
    assert "openjdk-17-jre-headless" in set_up(checkout, bare_path).stderr
