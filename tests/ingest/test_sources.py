import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl

from stages.ingest.sources import plain_path

STAGES = Path(__file__).parents[2] / "stages"

# A source that is new to the project: photos as they lie in folders named after their label.
FOLDERS = """
from stages.ingest.sources import Row
from stages.params import Section


class Options(Section):
    suffix: str


def rows(root, options):
    for number, file in enumerate(sorted(root.rglob(f"*{options.suffix}")), 1):
        name = str(file.relative_to(root))
        yield Row(".", number, name, name, "train", [file.parent.name], None)
"""


def test_a_source_is_added_by_its_file_alone(
    in_tmp: Path, write_params: Callable[..., None], photo: Callable[..., bytes]
) -> None:
    shutil.copytree(STAGES, "stages", ignore=shutil.ignore_patterns("__pycache__"))
    Path("stages/ingest/sources/label_folders.py").write_text(FOLDERS)
    for number, label in enumerate(["cat", "dog", "cat"]):
        (in_tmp / "raw" / label).mkdir(parents=True, exist_ok=True)
        (in_tmp / "raw" / label / f"{number}.png").write_bytes(photo(number, format="PNG"))
    write_params("label-folders", {"suffix": ".png"})
    done = subprocess.run(
        [sys.executable, "-m", "stages.ingest"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    table = pl.read_parquet("data/records.parquet")
    assert table["id"].to_list() == ["cat/0.png", "cat/2.png", "dog/1.png"]
    assert table["labels"].to_list() == [["cat"], ["cat"], ["dog"]]

    write_params("label-folders", {"sufix": ".png"})
    done = subprocess.run(
        [sys.executable, "-m", "stages.ingest"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "did you mean ingest.label-folders.suffix?" in done.stderr


def test_plain_paths() -> None:
    for path in (
        "a/1.jpg",
        "./a/1.jpg",
        "a//1.jpg",
        "a/./1.jpg",
        "/a/1.jpg",
        "a/1.jpg/",
        "a/1.jpg/.",
    ):
        assert plain_path(path) == "a/1.jpg", path
    for path in (".", "./", "", "/"):
        assert plain_path(path) == "", path
    for path in (".a/b", "a./b", "a/.b", "a/../b", "..", "a..b"):
        assert plain_path(path) == path
