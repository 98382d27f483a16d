"""What half precision saves on a GPU, how near training comes to what it can do, and its memory.

RegNetX-3.2GF at 224 × 224, S0's augmentation, the train stage's own loop, from random weights; what
is learnt is compared on SqueezeNet from ImageNet weights, for which a few epochs are enough.
Without a GPU the rows say so; with ``--tiny`` they run on a CPU as well, to try the code.
"""

import gc
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.loading import NO_GPU, Trainer, fill, s0, wait_for
from benchmarks.samples import photos
from benchmarks.table import Options, Row, in_turn, main
from stages.csv_tables import parse
from stages.network.allocation import keep_freed_memory
from stages.network.batches import Batch, Rows
from stages.train.augment import augment
from stages.train.compilation import compile_on_gpu
from stages.train.loop import validate
from stages.train.recomputation import recompute_parts

BACKBONE, TINY = "regnet_x_3_2gf", "squeezenet1_1"
BATCH = 128
STEPS = 30  # on the resident batch, in each repeat
WARM_UP = 5  # steps: compiled, captured, cuDNN's algorithms chosen
HALVES = ("bf16", "fp16")
EPOCHS = 4  # of SqueezeNet, whose ImageNet weights there are
PIECES = 4  # of a batch
LEARNT = "squeezenet1_0 from ImageNet weights in {}"
COMPILED = "torch.compile with CUDA graphs, one augmented batch on the device"
SPARING: dict[str, dict[str, Any]] = {
    "train.recompute": {"recompute": True},
    f"train.accumulate {PIECES}": {"accumulate": PIECES},
}


def rows(options: Options) -> Iterator[Row]:
    if options.tiny or (options.gpu and torch.cuda.is_available()):
        yield from precision(options)
        yield from compilation(options)
        yield from memory(options)
        return
    reason = NO_GPU if options.gpu else "with --gpu, on a machine that has one"
    for half in HALVES:
        yield Row(f"{BACKBONE}, an epoch in {half}", "fp32", "s", [], [], "≤ 0.40", reason)
    for half in HALVES:
        yield Row(LEARNT.format(half), "fp32", "macro-F1", [], [], "≥ 0.994", reason)
    yield Row(f"{BACKBONE}, train.compile", "without", "photos/s", [], [], "≥ 1", reason)
    for half in HALVES:
        yield Row(f"{BACKBONE} in {half}", COMPILED, "TFLOP/s", [], [], "≥ 0.90", reason)
    for what in SPARING:
        yield Row(f"memory of {BACKBONE}, {what}", "without", "GB", [], [], "≤ 1", reason)


def precision(options: Options) -> Iterator[Row]:
    """Half precision beside single: seconds, and what is learnt."""
    with setting(options) as there:
        yield from (there.halved(half) for half in HALVES)
        yield from (there.learnt(half) for half in HALVES)


def compilation(options: Options) -> Iterator[Row]:
    """What the compiler gains, and how near training without it comes to what the GPU can do."""
    with setting(options) as there:
        yield there.compiled()
        yield from (there.limit(half) for half in HALVES)


def memory(options: Options) -> Iterator[Row]:
    """What it takes at the most, and with what spares it."""
    with setting(options) as there:
        yield from (there.spared(what) for what in SPARING)


@contextmanager
def setting(options: Options) -> Iterator["Setting"]:
    torch.backends.cudnn.benchmark = True  # as the train stage
    keep_freed_memory()  # likewise
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        files = photos(folder / "photos", options.photos, options.shared)
        labels = labels_of(files, options.shared)
        files = [file for file in files if file.name in labels]
        ours = replace(
            fill(files, folder / "store"),
            targets=torch.tensor([labels[file.name] for file in files]),
        )
        held_out = np.arange(len(ours)) % 5 == 0
        yield Setting(
            torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            TINY if options.tiny else BACKBONE,
            min(BATCH, len(ours) // 4),
            2 if options.tiny else STEPS,
            part(ours, ~held_out),
            part(ours, held_out),
            options,
        )


def labels_of(files: list[Path], shared: Path | None) -> dict[str, list[float]]:
    """0 or 1 for each of 18 labels, by the photo's name: coco18's, or drawn."""
    if shared is None:
        drawn = np.random.default_rng(0).random((len(files), 18)) < 0.1
        return {
            file.name: row for file, row in zip(files, drawn.astype(float).tolist(), strict=True)
        }
    _, records = parse((shared / "coco18" / "train.csv").read_text("utf-8"))
    sets = {fields[0]: set(fields[1].split()) for _, fields in records}
    names = sorted(set.union(*sets.values()))
    return {photo: [float(name in own) for name in names] for photo, own in sets.items()}


def part(rows: Rows, chosen: np.ndarray) -> Rows:
    return replace(rows, images=rows.images[chosen], targets=rows.targets[chosen])


@dataclass(frozen=True)
class Setting:
    """Where, with what and on what is measured.

    Attributes:
        steps: on a resident batch, in each repeat.
        training, validation: photos of 256 × 256, four fifths of them and one.
    """

    device: torch.device
    backbone: str
    batch_size: int
    steps: int
    training: Rows
    validation: Rows
    options: Options

    def trainer(self, precision: str = "auto", **changes: Any) -> Trainer:
        """One whose first steps, which set things up, are done."""
        torch.manual_seed(0)
        changes |= {"batch_size": self.batch_size}
        params = s0(self.backbone, precision).model_copy(update=changes)
        trainer = Trainer(params, self.training, self.device)
        if trainer.optimization.params.recompute:
            recompute_parts(trainer.network)
        steps = min(WARM_UP, self.steps)
        trainer.epoch(repeat(self.batch(), steps), steps * self.batch_size)
        return trainer

    def batch(self) -> Batch:
        return next(self.training.batches(self.batch_size, self.device))

    def speed(self, trainer: Trainer) -> float:
        """Photos per second of an epoch from the store."""
        batches = self.training.batches(self.batch_size, self.device)
        return trainer.epoch(batches, len(self.training))

    def halved(self, half: str) -> Row:
        """An epoch from the store in half and in single precision, an epoch a repeat."""
        ours, theirs = self.trainer(half), self.trainer("fp32")
        figures = in_turn(
            self.options.repeats,
            lambda: len(self.training) / self.speed(ours),
            lambda: len(self.training) / self.speed(theirs),
        )
        return Row(f"{self.backbone}, an epoch in {half}", "fp32", "s", *figures, "≤ 0.40")

    def learnt(self, half: str) -> Row:
        """What a network from ImageNet weights has learnt in half and in single precision."""
        what, shared = LEARNT.format(half), self.options.shared
        if shared is None:
            reason = "needs the real weights: --shared"
            return Row(what, "fp32", "macro-F1", [], [], "≥ 0.994", reason)
        weights = str(shared / "weights" / "squeezenet1_0-imagenet.pth")
        rows, epochs = len(self.training), 1 if self.options.tiny else EPOCHS

        def macro_f1(precision: str, seed: int) -> float:
            torch.manual_seed(seed)
            params = s0("squeezenet1_0", precision, weights)
            steps = epochs * -(-rows // self.batch_size)
            trainer = Trainer(params, self.training, self.device, steps)
            for epoch in range(epochs):
                order = np.random.default_rng([seed, epoch]).permutation(rows)
                trainer.epoch(self.training.batches(self.batch_size, self.device, order), rows)
            found = validate(trainer.optimization, trainer.description, self.validation)
            return found["validation/macro_f1"]

        figures = [
            [macro_f1(precision, seed) for seed in range(self.options.repeats)]
            for precision in (half, "fp32")
        ]
        apart = median(ours - theirs for ours, theirs in zip(*figures, strict=True))
        note = f"{apart:+.4f} after {epochs} epochs, a seed a repeat; goal: within 0.003"
        return Row(what, "fp32", "macro-F1", *figures, "≥ 0.994", note)

    def compiled(self) -> Row:
        """An epoch with ``train.compile`` and one without."""
        ours, theirs = self.trainer(compile=True), self.trainer()
        side, started = ours.description.input_size, time.perf_counter()
        compile_on_gpu(ours.network, self.training, side, ours.optimization, devices=1)
        self.speed(ours)  # the last batch, which is smaller, is compiled for in its turn
        start_up = time.perf_counter() - started
        figures = in_turn(
            self.options.repeats, lambda: self.speed(ours), lambda: self.speed(theirs)
        )
        note = f"compiled and warm after {start_up:.0f} s"
        if ours.network.backbone._compiled_call_impl is None:
            note = "not compiled; the stage says why"
        what = f"{self.backbone}, train.compile"
        return Row(what, "without", "photos/s", *figures, "≥ 1", note)

    def limit(self, half: str) -> Row:
        """Floating-point operations of forward and backward passes in a second."""
        what = f"{self.backbone} in {half}"
        if self.device.type != "cuda":
            return Row(what, COMPILED, "TFLOP/s", [], [], "≥ 0.90", "CUDA graphs need a GPU")
        ours, stored = self.trainer(half), self.batch()
        generator, params = torch.Generator(), ours.optimization.params.augment
        ready = stored.map_images(lambda images: augment(images, params, generator))
        with FlopCounterMode(display=False) as counter:
            step(ours, ready)
        tera = counter.get_total_flops() / len(ready.targets) / 1e12

        theirs = Trainer(s0(self.backbone, half), self.training, self.device)
        theirs.network.backbone.compile(mode="reduce-overhead")
        started = time.perf_counter()
        on_one_batch(theirs, ready, WARM_UP, self.device)
        start_up = time.perf_counter() - started
        figures = in_turn(
            self.options.repeats,
            lambda: tera * self.speed(ours),
            lambda: tera * on_one_batch(theirs, ready, self.steps, self.device),
        )
        note = f"{tera * 1e3:.3g} GFLOP a photo; compiled and warm after {start_up:.0f} s"
        return Row(what, COMPILED, "TFLOP/s", *figures, "≥ 0.90", note)

    def spared(self, what: str) -> Row:
        """The most memory that tensors take in training, and what sparing it costs in time."""
        name = f"memory of {self.backbone}, {what}"
        if self.device.type != "cuda":
            return Row(name, "without", "GB", [], [], "≤ 1", "torch counts it on GPUs only")
        (ours, seconds), (theirs, plain) = self._held(SPARING[what]), self._held({})
        note = f"batches of {self.batch_size}; {seconds / plain:.2f} times as long"
        return Row(name, "without", "GB", [ours], [theirs], "≤ 1", note)

    def _held(self, changes: dict[str, Any]) -> tuple[float, float]:
        """The most gigabytes, and the seconds of so many steps."""
        gc.collect()  # what came before is not counted
        trainer = self.trainer(**changes)
        torch.cuda.reset_peak_memory_stats()
        photos = self.steps * self.batch_size
        speed = trainer.epoch(repeat(self.batch(), self.steps), photos)
        return torch.cuda.max_memory_allocated() / 1e9, photos / speed


def on_one_batch(trainer: Trainer, batch: Batch, steps: int, device: torch.device) -> float:
    """Photos per second of so many steps."""
    trainer.network.train()
    wait_for(device)
    started = time.perf_counter()
    for _ in range(steps):
        step(trainer, batch)
    wait_for(device)
    return steps * len(batch.targets) / (time.perf_counter() - started)


def step(trainer: Trainer, batch: Batch) -> None:
    with trainer.optimization.autocast():
        output = trainer.network(batch)
    trainer.optimization.backward(output, batch.targets)
    trainer.optimization.step()


if __name__ == "__main__":
    main(rows, __file__)
