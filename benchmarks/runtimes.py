"""A bundle at work on a GPU: ``tagloom predict`` beside the forward pass alone, and both runtimes.

EfficientNet-Lite2, in single precision. ONNX Runtime computes on the GPU where it is the package
onnxruntime-gpu, else on the CPU; the note says where it can.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.backbones import write_bundle
from benchmarks.loading import CHANGES, NO_GPU, Trainer, fill, s0
from benchmarks.predict import ROOT, SIZE, forward
from benchmarks.samples import photos
from benchmarks.serve import predict
from benchmarks.table import Options, Row, in_turn, main
from stages.bundle.model import Model, load_model
from stages.network.allocation import keep_freed_memory
from tagloom.inputs import Asked

BACKBONE = "timm/tf_efficientnet_lite2"
SHOWN = 256  # photos at the most that both runtimes are shown
TOLERANCE = 0.005  # of probabilities: GPUs multiply with 10 bits of fraction (TF32)
PREDICT = f"tagloom predict, EfficientNet-Lite2 at {SIZE}"
FORWARD = "forward pass on a resident batch"
ONNX = "ONNX Runtime, EfficientNet-Lite2"


def rows(options: Options) -> Iterator[Row]:
    if not (options.tiny or (options.gpu and torch.cuda.is_available())):
        reason = NO_GPU if options.gpu else "with --gpu, on a machine that has one"
        yield Row(PREDICT, FORWARD, "photos/s", [], [], "≥ 0.90", reason)
        yield Row(ONNX, "PyTorch", "photos/s", [], [], "", reason)
        return
    keep_freed_memory()  # as the command does
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        files = photos(folder / "photos", options.photos, options.shared)
        shown = fill(files[:SHOWN], folder / "store", SIZE)
        plain = s0(BACKBONE, "fp32")
        still = plain.augment.model_copy(update=dict.fromkeys(CHANGES, 0) | {"crop": None})
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trainer = Trainer(plain.model_copy(update={"augment": still}), shown, device)
        trainer.epoch(shown.batches(32, device), len(shown))
        bundle = folder / "bundle"
        write_bundle(trainer, bundle)
        model = load_model(bundle)
        asked = [Asked(file.name, file, None) for file in files]
        predict(model, asked[:64])  # warms up
        figures = in_turn(
            options.repeats,
            lambda: predict(model, asked),
            lambda: forward(trainer.network, trainer.description, len(files)),
        )
        yield Row(PREDICT, FORWARD, "photos/s", *figures, "≥ 0.90")
        yield command(folder, len(files))
        stored = shown.store.gather(shown.images)
        yield from compared(model, load_model(bundle, "onnx"), stored, options)


def command(folder: Path, count: int) -> Row:
    """The command as people give it, its start and all."""
    output, started = folder / "labels.csv", time.perf_counter()
    call = [sys.executable, "-m", "tagloom", "predict", folder / "photos", f"--output={output}"]
    subprocess.run([*call, f"--bundle={folder / 'bundle'}"], cwd=ROOT, check=True)
    note = f"{time.perf_counter() - started:.1f} s, its start and all"
    labelled = len(output.read_text("utf-8").splitlines()) - 1
    return Row("… the command: photos in its table", "photos", "", [labelled], [count], "≥ 1", note)


def compared(ours: Model, theirs: Model, stored: np.ndarray, options: Options) -> Iterator[Row]:
    """PyTorch (``ours``) beside ONNX Runtime: what they say, and how fast."""
    import onnxruntime

    answers = [model.probabilities(stored, None) for model in (ours, theirs)]
    apart = float(np.abs(answers[0] - answers[1]).max())
    note = f"ONNX Runtime has {', '.join(onnxruntime.get_available_providers())}"
    yield Row(f"{ONNX}: probabilities apart", "allowed", "", [apart], [TOLERANCE], "≤ 1", note)

    def speed(model: Model) -> float:
        started = time.perf_counter()
        for start in range(0, len(stored), 64):
            model.probabilities(stored[start : start + 64], None)
        return len(stored) / (time.perf_counter() - started)

    figures = in_turn(options.repeats, lambda: speed(theirs), lambda: speed(ours))
    yield Row(ONNX, "PyTorch", "photos/s", *figures)


if __name__ == "__main__":
    main(rows, __file__)
