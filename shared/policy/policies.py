"""All packs of a deployment: which version is in force, where, on which day."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from shared.policy.faults import Fault, PackError
from shared.policy.lint import read_pack, read_parameters
from shared.policy.pack import Pack
from shared.policy.parameters import Figures
from shared.policy.reading import MAX_BYTES, read_yaml
from shared.policy.version import Version

_NONE = Figures({})


class Policies:
    """The packs, by region."""

    def __init__(self, packs: Mapping[str, Pack], figures: Mapping[str, Figures]) -> None:
        self.packs = dict(packs)
        self._versions = {
            region: tuple(Version.of(pack, i, figures.get(region, _NONE)) for i in range(len(pack.versions)))
            for region, pack in packs.items()
        }

    @classmethod
    def load(cls, directory: Path, parameters: Path | None = None) -> "Policies":
        """Reads every ``*.yaml`` in a directory, and the operator's figures. Raises PackError listing all faults."""
        packs: dict[str, Pack] = {}
        unread = sorted(directory.glob("*.yml"))
        faults = [Fault(file.name, "", "is not read: a pack's name ends in .yaml", "rename it") for file in unread]
        files = sorted(directory.glob("*.yaml"))
        if not files:
            raise PackError([Fault(str(directory), "", "no pack (*.yaml) there", "name the directory of the packs")])
        for file in files:
            try:
                pack = read_pack(read_file(file), file.name)
            except PackError as error:
                faults += error.faults
                continue
            if pack.region in packs:
                faults.append(Fault(file.name, "region", f"{pack.region} has another pack", "keep one file a region"))
            packs[pack.region] = pack
        figures: dict[str, Figures] = {}
        if parameters is not None:
            try:
                figures = read_parameters(read_file(parameters), packs, parameters.name)
            except PackError as error:
                faults += error.faults
        if faults:
            raise PackError(faults)
        return cls(packs, figures)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that have a pack."""
        return tuple(self._versions)

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version of every region."""
        return tuple(version for versions in self._versions.values() for version in versions)

    def serves(self, region: str) -> bool:
        """Whether this deployment hosts the region."""
        return region in self._versions

    def on(self, region: str, day: date) -> Version | None:
        """The version in force on a day; None when none is, or the region is not served."""
        for version in self._versions.get(region, ()):
            if version.in_force(day):
                return version
        return None


def read_file(file: Path) -> Any:
    """What stands in a YAML file. Raises PackError where it cannot be read."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise PackError([Fault(str(file), "", f"cannot be read: {error.strerror}", "check the path")]) from error
    return read_yaml(content, file.name)
