"""What half precision saves on a GPU, and how near training comes to what the GPU can do.

RegNetX-3.2GF at 224 × 224, S0's augmentation, the train stage's own loop, from random weights; what
is learnt is compared on SqueezeNet from ImageNet weights, for which a few epochs are enough.
Without a GPU the rows say so; ``rows_on`` runs on a CPU as well, to try the code.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from statistics import median

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
from stages.train.loop import validate

BACKBONE = "regnet_x_3_2gf"
BATCH = 128
STEPS = 30  # on the resident batch, in each repeat
WARM_UP = 5  # steps: compiled, captured, cuDNN's algorithms chosen
HALVES = ("bf16", "fp16")
EPOCHS = 4  # of SqueezeNet, whose ImageNet weights there are
LEARNT = "squeezenet1_0 from ImageNet weights in {}"
COMPILED = "torch.compile with CUDA graphs, one augmented batch on the device"


def rows(options: Options) -> Iterator[Row]:
    if options.gpu and torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True  # as the train stage
        keep_freed_memory()  # likewise
        yield from rows_on(torch.device("cuda"), BACKBONE, BATCH, options)
        return
    reason = NO_GPU if options.gpu else "with --gpu, on a machine that has one"
    for half in HALVES:
        yield Row(f"{BACKBONE}, an epoch in {half}", "fp32", "s", [], [], "≤ 0.40", reason)
    for half in HALVES:
        yield Row(LEARNT.format(half), "fp32", "macro-F1", [], [], "≥ 0.994", reason)
    for half in HALVES:
        yield Row(f"{BACKBONE} in {half}", COMPILED, "TFLOP/s", [], [], "≥ 0.90", reason)


def rows_on(
    device: torch.device, backbone: str, batch_size: int, options: Options
) -> Iterator[Row]:
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
        training, validation = part(ours, ~held_out), part(ours, held_out)
        for half in HALVES:
            yield halved(backbone, half, training, batch_size, device, options)
        for half in HALVES:
            yield learnt(half, training, validation, batch_size, device, options)
        for half in HALVES:
            yield limit(backbone, half, training, batch_size, device, options)


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


def halved(
    backbone: str,
    half: str,
    training: Rows,
    batch_size: int,
    device: torch.device,
    options: Options,
) -> Row:
    """An epoch from the store in half and in single precision, an epoch a repeat."""
    trainers = {}
    for precision in (half, "fp32"):
        torch.manual_seed(0)
        trainers[precision] = Trainer(s0(backbone, precision), training, device)
        resident = next(training.batches(batch_size, device))
        trainers[precision].epoch(repeat(resident, WARM_UP), WARM_UP * batch_size)

    def seconds(precision: str) -> float:
        batches = training.batches(batch_size, device)
        return len(training) / trainers[precision].epoch(batches, len(training))

    figures = in_turn(options.repeats, lambda: seconds(half), lambda: seconds("fp32"))
    return Row(f"{backbone}, an epoch in {half}", "fp32", "s", *figures, "≤ 0.40")


def learnt(
    half: str,
    training: Rows,
    validation: Rows,
    batch_size: int,
    device: torch.device,
    options: Options,
) -> Row:
    """What a network from ImageNet weights has learnt in half and in single precision."""
    what = LEARNT.format(half)
    if options.shared is None:
        return Row(what, "fp32", "macro-F1", [], [], "≥ 0.994", "needs the real weights: --shared")
    weights = str(options.shared / "weights" / "squeezenet1_0-imagenet.pth")
    steps = EPOCHS * -(-len(training) // batch_size)

    def macro_f1(precision: str, seed: int) -> float:
        torch.manual_seed(seed)
        trainer = Trainer(s0("squeezenet1_0", precision, weights), training, device, steps)
        for epoch in range(EPOCHS):
            order = np.random.default_rng([seed, epoch]).permutation(len(training))
            trainer.epoch(training.batches(batch_size, device, order), len(training))
        found = validate(trainer.optimization, trainer.description, validation)
        return found["validation/macro_f1"]

    figures = [
        [macro_f1(precision, seed) for seed in range(options.repeats)]
        for precision in (half, "fp32")
    ]
    apart = median(ours - theirs for ours, theirs in zip(*figures, strict=True))
    note = f"{apart:+.4f} after {EPOCHS} epochs, a seed a repeat; goal: within 0.003"
    return Row(what, "fp32", "macro-F1", *figures, "≥ 0.994", note)


def limit(
    backbone: str,
    half: str,
    training: Rows,
    batch_size: int,
    device: torch.device,
    options: Options,
) -> Row:
    """Floating-point operations of forward and backward passes in a second."""
    ours = Trainer(s0(backbone, half), training, device)
    stored = next(training.batches(batch_size, device))
    generator, params = torch.Generator(), ours.optimization.params.augment
    ready = stored.map_images(lambda images: augment(images, params, generator))
    with FlopCounterMode(display=False) as counter:
        step(ours, ready)
    tera = counter.get_total_flops() / len(ready.targets) / 1e12

    theirs = Trainer(s0(backbone, half), training, device)
    theirs.network.backbone.compile(mode="reduce-overhead")
    started = time.perf_counter()
    on_one_batch(theirs, ready, WARM_UP, device)
    start_up = time.perf_counter() - started
    ours.epoch(repeat(stored, WARM_UP), WARM_UP * batch_size)
    figures = in_turn(
        options.repeats,
        lambda: tera * ours.epoch(training.batches(batch_size, device), len(training)),
        lambda: tera * on_one_batch(theirs, ready, STEPS, device),
    )
    note = f"{tera * 1e3:.3g} GFLOP a photo; compiled and warm after {start_up:.0f} s"
    return Row(f"{backbone} in {half}", COMPILED, "TFLOP/s", *figures, "≥ 0.90", note)


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
