"""What people read of what was set aside does nothing but be read."""

import csv
import subprocess
import sys
from pathlib import Path

from stages.ingest import rejected
from tests.conftest import ROOT


def test_cells_neither_steer_a_terminal_nor_are_formulas(in_tmp: Path):
    names = [
        "=1+1",
        "@SUM(A1)",
        "-2",
        "+x",
        "\t=1",
        "\x1b[2Jgone.jpg",
        "a\u202egpj.exe",
        "köln.jpg",
    ]
    rejected.write([("list.csv", 1, name, f"{name}: broken") for name in names])
    content = rejected.REJECTED.read_text("utf-8")
    assert not set(content) & {"\x1b", "\t", "\u202e"}
    rows = {row["photo"]: row["reason"] for row in csv.DictReader(content.splitlines())}
    assert {"'=1+1", "'@SUM(A1)", "'-2", "'+x", "\\t=1", "\\x1b[2Jgone.jpg", "köln.jpg"} < {*rows}
    assert rows["'=1+1"] == "'=1+1: broken"


def test_what_ends_a_stage_is_printed_without_codes(in_tmp: Path):
    program = (
        "import stages\n"
        "def main(): raise stages.UserError('no \\x1b[31mphoto\\nbut text')\n"
        "__package__ = 'stages.ingest'\n"
        "stages.run(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "ingest: no \\x1b[31mphoto\nbut text\n")
