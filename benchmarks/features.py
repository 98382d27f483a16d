"""A frozen backbone: training again with another rate beside training for the first time.

The first run computes the features of all photos, and keeps them; the second finds them. Both are
whole runs of the train stage, start-up and all, of a head on SqueezeNet at 224 pixels.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.table import Options, Row, main
from benchmarks.workspace import Workspace

EPOCHS = 5
# No augmentation: the features are the same in every epoch.
STILL = {
    name: 0
    for name in (
        *("horizontal_flip", "vertical_flip", "rotation", "scale", "shift"),
        *("brightness", "contrast", "saturation", "hue", "grey", "randaugment", "cutout"),
    )
} | {"crop": None, "resized_crop": None}
IMPORTS = [sys.executable, "-c", "import torch, torchvision.models"]
RATES = (6e-3, 3e-3)  # of the first run and of the second


def rows(options: Options) -> Iterator[Row]:
    what = f"train again on a frozen backbone, another rate, {'GPU' if options.gpu else 'CPU'}"
    if options.gpu and not torch.cuda.is_available():
        yield Row(what, "first run", "s", [], [], "≤ 0.05", "there is no GPU here")
        return
    first, again, startup, imports = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        workspace = Workspace(Path(name), options.photos, options, changes(options))
        if not options.gpu:
            workspace.environment |= {"CUDA_VISIBLE_DEVICES": ""}
        workspace.run("ingest", "split", "vocab")
        for _ in range(options.repeats):
            shutil.rmtree(Path(name) / "cache" / "features", ignore_errors=True)
            for rate, seconds in zip(RATES, (first, again), strict=True):
                workspace.change({"train": {"lr": rate, "epochs": EPOCHS}})
                seconds.append(workspace.run("train"))
            # What no run can go below: one that finds the features and learns nothing.
            workspace.change({"train": {"epochs": 0}})
            startup.append(workspace.run("train"))
            imports.append(seconds_of(IMPORTS))
    note = f"{options.photos:,} photos, {EPOCHS} epochs"
    yield Row(what, "first run", "s", again, first, "≤ 0.05", note)
    yield Row("… of that, without an epoch", "second run", "s", startup, again)
    yield Row("… of that, torch's and torchvision's imports", "second run", "s", imports, again)


def seconds_of(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def changes(options: Options) -> dict[str, Any]:
    weights = options.shared / "weights" / "squeezenet1_0-imagenet.pth" if options.shared else None
    return {
        "ingest": {"image_size": 224},
        "train": {
            "inputs": "image",
            "backbone": "squeezenet1_0",
            "weights": str(weights or "none"),
            "freeze": True,
            "feature_norm": "batch",
            "batch_size": 64,
            "augment": STILL,
        },
    }


if __name__ == "__main__":
    main(rows, __file__)
