"""Whether the loader is out of the way: photos to batches, and epochs, beside those of others.

Ours is the code of the train stage on a store of photos decoded once. All sides see the same
photos at 224 × 224, changed as S0 changes them, and the same network from random weights.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import published
from benchmarks.samples import photos
from benchmarks.table import Options, Row, in_turn, main
from experiments.params import overlay
from stages.ingest.decoder import decode
from stages.ingest.form import Form
from stages.ingest.images import ImageStore, ImageWriter
from stages.network.allocation import keep_freed_memory
from stages.network.batches import Batch, Rows
from stages.network.description import Description
from stages.network.nets import backbones
from stages.network.network import new_network
from stages.params import check, load
from stages.progress import Progress
from stages.train.augment import augmented
from stages.train.loop import train_epoch
from stages.train.params import Augment, Train
from stages.train.recipe import Optimization

ROOT = Path(__file__).parents[1]
LABELS = 18
BATCH = 32
LOADED, TRAINED = 2048, 512  # photos at most: enough for steady figures
STEPS = {"squeezenet1_1": 32, "mobilenet_v2": 16, "resnet50": 8}  # small, medium, large
RESIDENT = "fed by one batch that lies on the device"
# What S0 does to photos, besides the crop.
CHANGES = (
    *("horizontal_flip", "vertical_flip", "rotation"),
    *("brightness", "contrast", "saturation", "hue", "grey"),
)
# Recipes of today: what they switch on, the side of photos where another one, and the goal.
RECIPES: dict[str, tuple[dict[str, Any], int | None, str]] = {
    "resized crop": ({"resized_crop": (0.08, 1.0)}, None, "≥ 0.5"),
    "RandAugment": ({"randaugment": 2}, None, ""),
    "mixup": ({"mixup": 0.2, "mixed": 1.0}, None, "≥ 0.5"),
    "cutmix": ({"cutmix": 1.0, "mixed": 1.0}, None, "≥ 0.5"),
    "progressive, at 128 of 224": ({}, 128, "≥ 1"),
}
NO_GPU = "torch sees no GPU here; where it does: python -m benchmarks loading --gpu"


def rows(options: Options) -> Iterator[Row]:
    if options.gpu and not torch.cuda.is_available():
        yield from not_measured(NO_GPU)
        return
    device = torch.device("cuda" if options.gpu else "cpu")
    few = 1 if options.tiny else None
    torch.backends.cudnn.benchmark = True  # as the train stage
    keep_freed_memory()  # likewise
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        files = photos(folder / "photos", min(options.photos, LOADED), options.shared)
        ours = fill(files, folder / "store")
        for backbone in [*STEPS][:few]:
            yield fed(backbone, ours, device, options)
        yield from ready(ours, files, device, options)
        yield from recipes(ours, device, options)
        targets, files = ours.targets[:TRAINED], files[:TRAINED]
        ours = replace(ours, images=ours.images[:TRAINED], targets=targets)
        for backbone in ("mobilenet_v2", "efficientnet_b0")[:few]:
            yield from epochs(backbone, ours, files, device, options)
    if not options.gpu:
        yield from not_measured("with --gpu, on a machine that has one")


def not_measured(reason: str) -> Iterator[Row]:
    for backbone in STEPS:
        yield Row(
            f"GPU: {backbone} fed by the store", RESIDENT, "photos/s", [], [], "≥ 0.95", reason
        )
    yield Row("GPU: photos made ready by a core", "published", "photos/s", [], [], "≥ 20", reason)


def fed(backbone: str, ours: Rows, device: torch.device, options: Options) -> Row:
    """Training from the store beside training on one batch over and over, in the same loop."""
    steps = max(1, min(STEPS[backbone], len(ours) // BATCH))
    order = np.arange(steps * BATCH) % len(ours)
    trainer = Trainer(s0(backbone), ours, device)
    resident = next(ours.batches(BATCH, device, order))
    trainer.epoch(repeat(resident, 2), 2 * BATCH)  # what the first steps set up is not counted
    figures = in_turn(
        options.repeats,
        lambda: trainer.epoch(ours.batches(BATCH, device, order), len(order)),
        lambda: trainer.epoch(repeat(resident, steps), len(order)),
    )
    what = f"{named(device)}{backbone} fed by the store"
    note = f"{steps} steps of {BATCH}; augmentation in both"
    return Row(what, RESIDENT, "photos/s", *figures, "≥ 0.95", note)


def ready(ours: Rows, files: list[Path], device: torch.device, options: Options) -> Iterator[Row]:
    """Batches read, augmented and normalised by one core.

    By the processor's time, which others on the machine take nothing of.
    """
    params = s0("mobilenet_v2").augment
    few = files[: len(files) // 4]  # they are slower
    for way in published.WAYS:
        theirs = published.Photos(way, few, torch.zeros(len(few), LABELS), params)
        figures = in_turn(
            options.repeats,
            lambda: make_ready(ours, params, device),
            partial(published.apart, published.load, theirs, BATCH),
        )
        goal = ("≥ 20" if device.type == "cuda" else "≥ 5") if way == "published" else ""
        what = f"{named(device)}photos made ready by a core"
        yield Row(what, way, "photos/s", *figures, goal, "without workers, whose sending costs")


def recipes(ours: Rows, device: torch.device, options: Options) -> Iterator[Row]:
    """What each recipe costs, beside a random crop that is all there is to do."""
    crop = s0("mobilenet_v2").augment
    crop = crop.model_copy(update=dict.fromkeys(CHANGES, 0))
    for name, (changes, side, goal) in RECIPES.items():
        changed = crop.model_copy(update=changes)
        figures = in_turn(
            options.repeats,
            partial(make_ready, ours, changed, device, side),
            lambda: make_ready(ours, crop, device),
        )
        what = f"{named(device)}photos made ready by a core, {name}"
        yield Row(what, "a random crop alone", "photos/s", *figures, goal)


def make_ready(ours: Rows, params: Augment, device: torch.device, side: int | None = None) -> float:
    """Photos per second of a core's time that are on the device, as a network wants them."""
    order, generator = np.random.default_rng(0).permutation(len(ours)), torch.Generator()
    with published.one_core():
        started = time.process_time()
        for batch in ours.batches(BATCH, device, order):
            augmented(batch, params, generator, side)
        wait_for(device)
        return len(ours) / (time.process_time() - started)


def epochs(
    backbone: str, ours: Rows, files: list[Path], device: torch.device, options: Options
) -> Iterator[Row]:
    """A whole training epoch, everything in it, on all cores."""
    trainer = Trainer(s0(backbone), ours, device)
    trainer.epoch(repeat(next(ours.batches(BATCH, device)), 2), 2 * BATCH)
    alone = speed_of_network(backbone, ours, device)
    order = np.random.default_rng(0).permutation(len(ours))
    augment = trainer.optimization.params.augment
    for way in published.WAYS:
        theirs = published.Photos(way, files, ours.targets, augment)
        figures = in_turn(
            options.repeats,
            lambda: trainer.epoch(ours.batches(BATCH, device, order), len(ours)),
            partial(
                published.apart,
                published.epoch,
                *(way, backbone, theirs, BATCH, augment.crop, device),
            ),
        )
        goal = "≥ 1.3" if way == "published" else ""
        note = f"{median(figures[0]) / alone:.0%} of ours is the network"
        what = f"{named(device)}{backbone}, an epoch"
        yield Row(what, way, "photos/s", *figures, goal, note)


class Trainer:
    """The train stage's loop around the backbone that ``params`` name."""

    def __init__(
        self, params: Train, ours: Rows, device: torch.device, steps: int = 10_000
    ) -> None:
        self.description = describe(params, [str(i) for i in range(LABELS)], ours.store.size)
        self.network, _ = new_network(self.description)
        self.network.to(device, memory_format=torch.channels_last)
        self.optimization = Optimization(self.network, params, ours.targets, steps)
        self._device = device

    def epoch(self, batches: Iterator[Batch], photos: int) -> float:
        """Photos per second of one pass of ``train_epoch`` over ``batches``."""
        generator, progress = torch.Generator().manual_seed(0), Progress("epoch", photos, "photos")
        wait_for(self._device)
        started = time.perf_counter()
        what = self.network, self.optimization, self.description
        train_epoch(*what, batches, generator, progress, float("inf"))
        wait_for(self._device)
        return photos / (time.perf_counter() - started)


def speed_of_network(backbone: str, ours: Rows, device: torch.device) -> float:
    """Photos per second of forward, backward and step on one batch that lies there cropped."""
    params = s0(backbone)
    side = params.augment.crop
    nothing = dict.fromkeys(CHANGES, 0) | {"crop": None}
    plain = params.augment.model_copy(update=nothing)
    trainer = Trainer(params.model_copy(update={"augment": plain}), ours, device)
    batch = next(ours.batches(BATCH, device)).map_images(lambda images: images[..., :side, :side])
    trainer.epoch(repeat(batch, 2), 2 * BATCH)
    return trainer.epoch(repeat(batch, 4), 4 * BATCH)


def fill(files: list[Path], folder: Path, size: int = published.RESIZED) -> Rows:
    """Those photos in a store, with targets drawn at random."""
    folder.mkdir()
    with ImageWriter(folder, Form(size)) as store:
        for file in files:
            store.append(decode(file.read_bytes(), size).pixels)
    targets = torch.rand(len(files), LABELS, generator=torch.Generator().manual_seed(0)) < 0.1
    return Rows(ImageStore(folder), np.arange(len(files)), None, targets.float())


def s0(backbone: str, precision: str = "auto", weights: str = "none") -> Train:
    """S0's preset around another backbone, from random weights or those of a file."""
    content = overlay(load(ROOT / "params.yaml"), load(ROOT / "presets" / "s0" / "regnet.yaml"))
    changes = {"backbone": backbone, "weights": weights, "precision": precision}
    return check(Train, content["train"] | changes | {"batch_size": BATCH}, "train")


def describe(params: Train, labels: list[str], stored_size: int) -> Description:
    return Description(
        labels=labels,
        inputs="image",
        backbone=params.backbone,
        stored_size=stored_size,
        crop=params.augment.crop,
        pooling=params.pooling,
        feature_norm=params.feature_norm,
        fusion=params.fusion,
        dropout=params.dropout,
        flip=False,
        precision=params.precision,
        text=params.text.model_dump(),
        vocabulary={"words": [], "normalize": "none", "drop_stop_words": False, "max_length": 1},
        **backbones.preprocessing(params.backbone),
    )


def named(device: torch.device) -> str:
    return "GPU: " if device.type == "cuda" else ""


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(rows, __file__)
