"""The lock has every package that the project asks for, in a version that it allows, with hashes and without addresses."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy/requirements.lock").read_text(encoding="utf-8")
LOCKED = {canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE)}
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = [
    *PROJECT["project"]["dependencies"],
    *PROJECT["project"]["optional-dependencies"]["dev"],
    *PROJECT["build-system"]["requires"],
]


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_project_asks_for_is_locked(asked: str) -> None:
    requirement = Requirement(asked)
    version = LOCKED.get(canonicalize_name(requirement.name))
    assert version is not None, "run `make lock`"
    assert requirement.specifier.contains(version, prereleases=True), "run `make lock`"


def test_every_package_has_hashes_and_none_an_address() -> None:
    packages = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    assert len(packages) == len(LOCKED)
    assert [package.split()[0] for package in packages if "--hash=sha256:" not in package] == []
    assert re.findall(r"://|--\w*index", LOCK) == []


def test_every_package_is_there_because_another_or_the_project_asks_for_it() -> None:
    packages = re.split(r"^(?=[\w.-]+==)", LOCK, flags=re.MULTILINE)[1:]
    wanted_by = {
        package.split("==")[0]: set(re.findall(r"^ +#(?: +via)? +([\w.-]+)", package, re.MULTILINE)) for package in packages
    }
    unknown = {
        name: by for name, by in wanted_by.items() if not any(one == "gongji" or canonicalize_name(one) in LOCKED for one in by)
    }
    assert unknown == {}
