"""The command line: a verb imports its own modules and no other's; what is raised in a process of ours arrives whole."""

import pickle
import subprocess
import sys

import pytest

from services.__main__ import command_line
from shared.errors import ServerMissing

LOADED = """
import sys
from services.__main__ import command_line
command_line(sys.argv[1])
print(*sorted(name for name in sys.modules if name.startswith("services.")))
"""


@pytest.mark.parametrize(("verb", "own"), [("serve", "services.serve"), ("lease", "services.ops.lease")])
def test_a_verb_imports_no_other_verb_s_modules(verb: str, own: str) -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADED, verb], capture_output=True, text=True, check=True).stdout.split()
    assert own in loaded
    assert {"services.bench.cli", "services.demo.cli", "services.audit_cli"} & set(loaded) == set()


def test_a_word_that_is_no_verb_is_met_by_all_of_them() -> None:
    assert len(command_line("nonsense").registered_groups) > 5


def test_a_missing_server_is_told_by_another_process() -> None:
    told = pickle.loads(pickle.dumps(ServerMissing("postgres", "start it")))
    assert (told.server, told.remedy, str(told)) == ("postgres", "start it", str(ServerMissing("postgres", "start it")))
