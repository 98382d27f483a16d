"""The cores a process may use, also where the system cannot say which those are."""

import os
import subprocess
import sys

import pytest

from stages.cores import cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs affinity")
def test_only_those_that_the_process_may_use():
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " \
        "from stages.cores import cores; print(cores())"  # fmt: skip
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "1\n"


def test_all_where_there_is_no_affinity(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == (os.cpu_count() or 1)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
