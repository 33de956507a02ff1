"""A disk of a few hundred MiB under a server's data, that a test can fill and give back (needs root, and Linux)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BLOCK = bytes(1 << 20)


def needs_mounts() -> None:
    """Skips the test where file systems cannot be mounted, and says so."""
    if os.geteuid() != 0:
        pytest.skip("a small file system for the server needs root")
    trial = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if trial.returncode:
        pytest.skip(f"file systems cannot be mounted here: {trial.stderr.decode().strip()}")


class SmallDisk:
    """The mounted file system."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        """Takes what is left, to the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            size = len(_BLOCK)
            while size:
                try:
                    ballast.write(_BLOCK[:size])
                except OSError:
                    size //= 2

    def give_back(self) -> None:
        """Frees it again."""
        self._ballast.unlink()


@contextmanager
def small_disk(directory: Path, mib: int) -> Iterator[SmallDisk]:
    """Puts what is in a directory on a disk of its own, which is gone after the block. Its server must not run at either end."""
    aside = directory.with_name(f"{directory.name}.aside")
    directory.rename(aside)
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(directory)], check=True)
    try:
        shutil.copystat(aside, directory)
        owner = aside.stat()
        os.chown(directory, owner.st_uid, owner.st_gid)
        subprocess.run(["cp", "-a", f"{aside}/.", str(directory)], check=True)
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)
        shutil.rmtree(aside)
