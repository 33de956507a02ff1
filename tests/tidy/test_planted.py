"""The patches that take safeties out still fit the tree, and name tests that are there."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "planted"))

from patches import PATCHES, Patch  # noqa: E402 - the directory is no part of any package


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.safety)
def test_a_patch_fits_the_tree(patch: Patch) -> None:
    source = (ROOT / patch.file).read_text(encoding="utf-8")
    assert source.count(patch.old) == 1
    if patch.file.endswith(".py"):
        ast.parse(source.replace(patch.old, patch.new))
    file, _, test = patch.test.partition("::")
    assert re.search(rf"def {test}\(" if test else "def test_", (ROOT / file).read_text(encoding="utf-8"))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.safety)
def test_the_page_has_seen_a_patch_fail(patch: Patch) -> None:
    """What has changed since was not seen failing: `tests/planted/run.py deploy/planted.md WORDS` sees it."""
    page = (ROOT / "deploy" / "planted.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {re.escape(patch.safety)} \| `{re.escape(patch.file)}` \| .* \| fails \|$", page, re.MULTILINE)


def test_no_safety_is_taken_out_twice() -> None:
    assert len({patch.safety for patch in PATCHES}) == len(PATCHES)
