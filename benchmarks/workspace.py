"""A temporary folder in which the real stages run on so many photos."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from benchmarks.samples import captions, label_sets, photos
from benchmarks.table import Options
from experiments.params import overlay
from stages.params import load

ROOT = Path(__file__).parents[1]
SOMEONE = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org"]


class Workspace:
    """Photos, their list and ``params.yaml`` in a folder; stages leave there what they write.

    Each photo has labels and a caption, but not its own: what a stage costs does not hang on them.

    Attributes:
        environment: of the stages' processes; what they keep for later is below the folder.

    Args:
        folder: an empty one.
        photos: how many rows.
        changes: of ``params.yaml``, as nested sections.
        repeat: how many rows have the same photo.
        test: the fraction of the rows that are test photos.
    """

    def __init__(
        self,
        folder: Path,
        photos: int,
        options: Options,
        changes: dict[str, Any],
        repeat: int = 1,
        test: float = 1 / 6,
    ) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "TAGLOOM_CACHE": str(folder / "cache"),
        }
        raw = folder / "raw"
        names = provide_photos(raw / "photos", photos // repeat, repeat, options.shared)
        write_lists(raw, names, options, test)
        (folder / "data/corrections").mkdir(parents=True)
        source = {"train": "train.csv", "test": "test.csv", "photos": "photos"}
        ingest = {"source": "kaggle-csv", "root": str(raw), "kaggle-csv": source}
        ingest["corrections"] = "data/corrections"
        own = {"ingest": ingest, "report": {"out_of_fold": "data/validation.parquet"}}
        self._content = overlay(load(ROOT / "params.yaml"), own)
        self.change(changes)

    def change(self, changes: dict[str, Any]) -> None:
        """Changes parameters, nested sections, from now on."""
        self._content = overlay(self._content, changes)
        with (self.folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(self._content, file)

    def start(self, stage: str) -> subprocess.Popen:
        """Starts a stage as DVC does."""
        return subprocess.Popen(
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
        )

    def run(self, *stages: str) -> float:
        """Runs stages one after the other; the seconds they took, start-up and all."""
        started = time.perf_counter()
        for stage in stages:
            if self.start(stage).wait():
                sys.exit(f"{stage} failed in {self.folder}; see above")
        return time.perf_counter() - started


def provide_photos(folder: Path, count: int, repeat: int, shared: Path | None) -> list[str]:
    """Puts ``count`` JPEGs into ``folder``, each under ``repeat`` names; returns the names."""
    names: list[str] = []
    for file in photos(folder, count, shared):
        others = [f"{file.stem}_{again}.jpg" for again in range(1, repeat)]
        for name in others:
            os.link(file, folder / name)
        names += [file.name, *others]
    return names


def write_lists(folder: Path, names: list[str], options: Options, test: float) -> None:
    """``train.csv``, and ``test.csv`` with the first of the photos."""
    sets = [
        " ".join(str(number) for number in np.flatnonzero(row))
        for row in label_sets(len(names), options.shared)
    ]
    told = captions(len(names), options.shared)
    shown = round(len(names) * test)
    unknown = [f'{name},"{caption}"' for name, caption in zip(names, told, strict=True)]
    known = [f'{n},{s},"{c}"' for n, s, c in zip(names, sets, told, strict=True)]
    for file, lines in (
        ("train.csv", ["ImageID,Labels,Caption", *known[shown:]]),
        ("test.csv", ["ImageID,Caption", *unknown[:shown]]),
    ):
        (folder / file).write_text("\n".join(lines) + "\n", "utf-8")


def start_project(folder: Path) -> None:
    """An empty project, with this checkout's settings of DVC."""
    folder.mkdir()
    for command in (
        ["git", "init", "--quiet"],
        # DVCLive wants a commit.
        ["git", *SOMEONE, "commit", "--quiet", "--allow-empty", "--message", "Start"],
        [sys.executable, "-m", "dvc", "init", "--quiet"],
    ):
        subprocess.run(command, cwd=folder, check=True)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
