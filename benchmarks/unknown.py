"""How well a network learns from photos of which some labels are unknown, by what these count.

As in CheXpert: of each training photo a third of the labels were never asked about, and of another
tenth who was asked could not tell. To ignore them is compared with taking them as negatives, on
validation photos of which everything is known. The network is SqueezeNet, frozen, with a last layer
that learns; each repeat hides other labels and has another seed. It takes real photos.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.coco18 import ROOT, run, write
from benchmarks.features import STILL
from benchmarks.samples import listed
from benchmarks.table import Options, Row, main
from experiments.params import overlay
from stages import metrics
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.network import rows_for
from stages.params import load, read
from stages.split import folds
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold
from stages.train import features
from stages.train.checkpoint import Checkpoint
from stages.train.distributed import ALONE
from stages.train.loop import fit, predict
from stages.train.params import Train
from stages.train.start import build_network, describe

PHOTOS = 4_000  # half of them train, half validate
NOT_ASKED, NOT_SURE = 1 / 3, 1 / 10  # of the labels of a training photo
NEGATIVE, COMPLETE = "negative", "complete"
WAYS = {  # values of train.loss.unknown, and as if nothing had been hidden
    "ignore": "ignored",
    "weak-negative": "weak negatives",
    COMPLETE: "not hidden",
}
CHANGES: dict[str, Any] = {
    "ingest": {"image_size": 224},
    "split": {"validation": 0.5},
    "train": {
        "inputs": "image",
        "backbone": "squeezenet1_0",
        "freeze": True,
        "feature_norm": "batch",
        "dropout": 0.5,  # with this and as many epochs each way does best
        "lr": 1e-2,
        "epochs": 25,
        "metric": "mean_average_precision",
        "augment": STILL,
    },
}

Figures = dict[str, float]


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    if options.shared is None:
        yield Row("unknown labels ignored", "negatives", "", [], [], "≥ 1", "takes real photos")
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder, chdir(folder):
        os.environ["TAGLOOM_CACHE"] = str(Path(folder) / "cache")
        weights = options.shared / "weights" / "squeezenet1_0-imagenet.pth"
        prepare(min(PHOTOS, options.photos), options.shared, CHANGES, weights)
        found = [repeat(seed) for seed in range(options.repeats)]
    for way, said in WAYS.items():
        for name in found[0][way]:
            ours, theirs = ([each[key][name] for each in found] for key in (way, NEGATIVE))
            goal = "≥ 1" if way == "ignore" else ""
            yield Row(f"{name}, unknown labels {said}", "as negatives", "", ours, theirs, goal)


def prepare(photos: int, shared: Path, changes: dict[str, Any], weights: Path) -> None:
    """Runs the stages before train on coco18's first photos, in the current folder.

    Args:
        changes: of ``params.yaml``, as nested sections.
        weights: of the backbone.
    """
    Path("raw/data").mkdir(parents=True)
    Path("data/corrections").mkdir(parents=True)
    chosen = listed(shared)[:photos]
    for id, *_ in chosen:
        shutil.copyfile(shared / "coco18" / "data" / id, f"raw/data/{id}")
    lines = [f'{id},{labels},"{caption}"' for id, labels, caption in chosen]
    Path("raw/train.csv").write_text("\n".join(["ImageID,Labels,Caption", *lines, ""]), "utf-8")
    source = {"source": "kaggle-csv", "root": "raw", "kaggle-csv": {"test": None, "photos": "data"}}
    here = {"ingest": source, "train": {"weights": str(weights)}}
    write(overlay(overlay(load(ROOT / "params.yaml"), here), changes))
    for stage in ("ingest", "split", "vocab"):
        run(stage)


def known_labels(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Which labels stay known, bool (rows, labels)."""
    return np.random.default_rng(seed).random(shape) >= NOT_ASKED + NOT_SURE


def repeat(seed: int) -> dict[str, Figures]:
    """The figures by way; all ways have the same labels hidden, and start with the same weights."""
    return {way: learn(way, seed) for way in (*WAYS, NEGATIVE)}


def learn(way: str, seed: int) -> Figures:
    """Trains as the stage does, with labels hidden unless ``way`` is ``COMPLETE``."""
    params = read(Train)
    unknown = params.loss.unknown if way == COMPLETE else way
    loss = params.loss.model_copy(update={"unknown": unknown})
    params = params.model_copy(update={"seed": seed, "loss": loss})
    names, store = records.read_label_names(), ImageStore()
    description = describe(params, names, store.form)
    torch.manual_seed(seed)
    network, words = build_network(params, description, ALONE)

    def rows_of(part: str, hides: bool) -> Rows:
        photos = folds.rows_of(records.read(), folds.read(), part)
        truth = records.label_matrix(photos["labels"], names)
        known = known_labels(truth.shape, seed) if hides else None
        shown = truth if known is None else truth & known
        return rows_for(description, photos, store, words, shown, known)

    parts = rows_of("train", way != COMPLETE), rows_of("validation", hides=False)
    train, validation, _ = features.in_place_of_photos(
        *parts, network, description, params, "fp32", ALONE
    )
    checkpoint = Checkpoint(params, network, store.form, "fp32")
    fit(network, description, train, validation, params, checkpoint, lambda epoch: None)
    checkpoint.remove()  # what is hidden is not in its key
    return figures(validation, predict(network, description, validation, 256, "fp32"))


def figures(validation: Rows, probabilities: np.ndarray) -> Figures:
    """Each row is decided by the threshold found on other rows."""
    assert validation.targets is not None
    truth = validation.targets.numpy() > 0.5
    decided = cross_fit(truth, probabilities, read(Threshold))
    return {
        "micro-F1": metrics.micro_f1(truth, decided),
        "micro-F1 at 0.5": metrics.micro_f1(truth, probabilities >= 0.5),
        "mAP": metrics.mean_average_precision(truth, probabilities),
    }


if __name__ == "__main__":
    main(rows, __file__)
