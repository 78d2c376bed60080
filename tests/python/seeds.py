"""Runs programs that try random arrays, seed by seed; see `odd_arrays.py`."""

from __future__ import annotations

import json
import os
import subprocess

# How many seeds; `make test-long` takes more.
COUNT = int(os.environ.get("VACUOLE_TEST_ARRAYS", "48"))
TOGETHER = 24


def reports(command: list, first: int, end: int):
    """What each seed gives. Where libtiledb ends its process, the next one goes on behind that seed."""
    while first < end:
        full = [*map(str, command), str(first), str(end)]
        done = subprocess.run(full, capture_output=True, text=True, timeout=1200)
        begun = None
        for line in done.stdout.splitlines():
            report = json.loads(line)
            if "begun" in report:
                begun = report["begun"]
            else:
                yield report
                first = report["seed"] + 1
        if done.returncode == 0:
            return
        assert begun is not None, done.stderr
        # Python's own errors are of the test; signals are libtiledb's.
        assert done.returncode < 0, done.stderr
        yield {"seed": begun, "problem": None, "refused": f"signal {-done.returncode}", "case": []}
        first = begun + 1


def compared(command: list, first: int, end: int) -> list[dict]:
    found = list(reports(command, first, end))
    wrong = [f"seed {r['seed']}: {r['problem']}\n  " + "\n  ".join(r["case"]) for r in found if r["problem"]]
    assert not wrong, "\n".join(wrong)
    return found
