"""What stands in a service's log, and what never does."""

import json
import subprocess
import sys

# In a process of its own: the hook and the handler are the process's.
_FAILS_WHERE_NOBODY_CAN_TAKE_IT = """
from shared.runtime.telemetry import log_to_stderr

class Claim:
    def __del__(self):
        raise ValueError("M130900001")

log_to_stderr("INFO")
Claim()
"""


def test_a_failure_that_nobody_could_take_is_logged_by_its_place_and_kind_and_without_its_words() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FAILS_WHERE_NOBODY_CAN_TAKE_IT], capture_output=True, text=True, timeout=60, check=True
    )
    [line] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (line["level"], line["trace"][-1]) == ("ERROR", "ValueError")
    assert "M130900001" not in done.stderr
