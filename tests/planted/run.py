"""Takes each safety out of a copy of the tree and sees its test fail: ``python tests/planted/run.py [PAGE]``.

Exit code 1 when a test still passes without the safety it is there for, or does not even run.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from matrix import keep
from patches import PATCHES, Patch

from deploy.local import servers

ROOT: Final = Path(__file__).resolve().parents[2]
_PATIENCE_S: Final = 300  # a test without its safety may wait for what does not come
_FAILED: Final = 1  # what pytest says when tests ran and failed; anything else is no proof
_PAGE: Final = """# Safeties taken out

Written by `make test-planted`: each safety was taken out of a copy of the tree (`tests/planted/patches.py` says how), and
the test named for it was run. A safety whose test does not fail without it is not tested. The other direction, breaches
planted in the books for the audit to find, is in `tests/integration/test_audit_catches.py`.

"""


def main(page: Path | None, words: Sequence[str] = ()) -> int:
    """Tries every patch whose safety names one of the words (all without any), writes the page, returns the exit code."""
    chosen = [patch for patch in PATCHES if not words or any(word in patch.safety for word in words)]
    with tempfile.TemporaryDirectory(prefix="gongji-planted-") as place:
        tree, home = Path(place) / "tree", Path(place) / "home"
        Path(place).chmod(0o755)
        _copy(tree)
        addresses = servers.up(home)
        given = {f"GONGJI_{name.upper()}": getattr(addresses, name) for name in ("kafka", "postgres", "redis")}
        try:
            results = [(patch, _caught(tree, patch, os.environ | given)) for patch in chosen]
        finally:
            servers.erase(home)
    if page is not None:
        rows = [(patch.safety, f"`{patch.file}`", f"`{patch.test}`", said) for patch, said in results]
        keep(page, _PAGE, ("safety", "taken out of", "test", "result"), rows)
    return int(any(said != "fails" for _, said in results))


def _copy(tree: Path) -> None:
    """What git knows of the tree, as it stands now, and Kafka's jars."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    jars = tree / "deploy/local/kafka/lib"
    if not jars.exists():
        jars.symlink_to(ROOT / "deploy/local/kafka/lib")


def _caught(tree: Path, patch: Patch, environment: dict[str, str]) -> str:
    file = tree / patch.file
    whole = file.read_text(encoding="utf-8")
    assert whole.count(patch.old) == 1, f"{patch.safety}: {patch.file} does not hold exactly once: {patch.old}"
    file.write_text(whole.replace(patch.old, patch.new), encoding="utf-8")
    command = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "", patch.test)
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        said = {_FAILED: "fails", 0: "PASSES"}.get(done.returncode, "DOES NOT RUN")
        told = "" if said == "fails" else done.stdout[-2000:] + done.stderr[-1000:]
    except subprocess.TimeoutExpired:
        said, told = f"NO ANSWER IN {_PATIENCE_S} s", ""
    file.write_text(whole, encoding="utf-8")
    sys.stderr.write(f"{said:14} without: {patch.safety}\n{told}")
    return said


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # the servers are stopped then, too
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, sys.argv[2:]))
