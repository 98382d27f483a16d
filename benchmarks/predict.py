"""The predict stage beside the forward pass alone: one batch that is on the device already.

The network is SqueezeNet for photos of 224 pixels. The stage's speed is what it says itself in
``metrics/predict.json``: from the first photo read to the last probability, without its start-up.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.table import Options, Row, in_turn, main
from benchmarks.workspace import ROOT, Workspace
from stages.network.allocation import keep_freed_memory
from stages.network.batches import Batch
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import NETWORK, load_network
from stages.network.precision import autocast, precision_for
from stages.network.preprocess import prepare
from stages.params import load

MOST_PHOTOS = {"cpu": 2400, "cuda": 12_000}
SIZE = 224
NAMES = [str(number) for number in range(18)]


def rows(options: Options) -> Iterator[Row]:
    device = torch.device("cuda" if options.gpu else "cpu")
    what = f"predict, SqueezeNet at {SIZE}, {'GPU' if options.gpu else 'CPU'}"
    beside = "forward pass on a resident batch"
    if options.gpu and not torch.cuda.is_available():
        yield Row(what, beside, "photos/s", [], [], "≥ 0.90", "there is no GPU here")
        return
    keep_freed_memory()  # as the stage does: the limit shall be one
    photos = min(options.photos, MOST_PHOTOS[device.type])
    weights = options.shared / "weights" / "squeezenet1_0-imagenet.pth" if options.shared else None
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        train = {"inputs": "image", "backbone": "squeezenet1_0", "weights": str(weights or "none")}
        changes = {
            "ingest": {"image_size": SIZE, "labels": NAMES},
            "train": train | {"epochs": 0, "augment": {"shift": 0}},
            "bundle": {"onnx": False, "precision": "float32"},
        }
        workspace = Workspace(Path(name), photos, options, changes, test=0.9)
        if not options.gpu:
            workspace.environment |= {"CUDA_VISIBLE_DEVICES": ""}
        workspace.run("ingest", "split", "vocab", "train", "threshold", "bundle")
        network, description, _ = load_network(Path(name) / NETWORK)

        def stage() -> float:
            workspace.run("predict")
            measured = json.loads((Path(name) / "metrics" / "predict.json").read_text("utf-8"))
            return measured["photos_per_second"]

        network.to(device, memory_format=torch.channels_last)

        def alone() -> float:
            return forward(network, description, photos)

        ours, theirs = in_turn(options.repeats, stage, alone)
    yield Row(what, beside, "photos/s", ours, theirs, "≥ 0.90")


@torch.inference_mode()
def forward(network: Classifier, description: Description, photos: int) -> float:
    """Photos a second when one prepared batch is shown again and again."""
    network.eval()
    device = next(network.parameters()).device
    size = load(ROOT / "params.yaml")["predict"]["batch_size"]
    stored = torch.randint(256, (size, SIZE, SIZE, 3), dtype=torch.uint8, device=device)
    images = prepare(stored.permute(0, 3, 1, 2), None, description.mean, description.std)
    batch = Batch(images, None, None, None, None)
    times = max(1, photos // size)
    context = autocast(device, precision_for(device, description.precision))
    for warm in (True, False):
        started = time.perf_counter()
        for _ in range(1 if warm else times):
            with context():
                probabilities = network(batch).logits.sigmoid()
        probabilities.cpu()  # waits for a GPU
    return times * size / (time.perf_counter() - started)


if __name__ == "__main__":
    main(rows, __file__)
