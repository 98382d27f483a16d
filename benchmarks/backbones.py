"""Ten families of timm's backbones at two sizes: trained, bundled, as ONNX, explained.

``python -m benchmarks.backbones`` takes a small architecture of each family with random weights
through what a project takes it through: a step of training on real photos, a bundle, its ONNX graph
beside PyTorch, heat maps. It prints a table of its own, and ends with 1 where the two runtimes
differ by more than ``stages.bundle.keep`` allows, or there is no heat map. Names and ``--sizes``
choose others: ``python -m benchmarks.backbones timm/eva02_tiny_patch14_224 --sizes 224``; so does
``--pooling attention``, for which a backbone has to give the features of each place.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import torch

from benchmarks.loading import CHANGES, LABELS, Trainer, fill, s0
from benchmarks.samples import photos
from benchmarks.table import machine, number
from stages.bundle import graph, half_precision
from stages.bundle.bundle import ONNX, read_bundle, seal
from stages.bundle.inference import InferenceModule
from stages.bundle.keep import ONNX_TOLERANCE
from stages.bundle.model import load_model
from stages.explain.explainer import Explainer
from stages.network.batches import Rows
from stages.network.description import WEIGHTS
from stages.network.network import save_network
from stages.threshold.decision import Decision

# A small one of each family. That of SigLIP has no smaller one.
FAMILIES = {
    "ConvNeXt": "timm/convnext_atto",
    "EfficientNet": "timm/efficientnet_lite0",
    "RegNet": "timm/regnetx_002",
    "ViT": "timm/vit_tiny_patch16_224",
    "Swin": "timm/swin_tiny_patch4_window7_224",
    "MobileNet": "timm/mobilenetv3_small_050",
    "ResNet": "timm/resnet10t",
    "DINOv2": "timm/vit_small_patch14_dinov2",
    "SigLIP": "timm/vit_base_patch16_siglip_224",
    "MaxViT": "timm/maxvit_pico_rw_256",
}
SIZES = (112, 224)  # pixels; both hold whole patches of 14 and of 16
OTHERS = {FAMILIES["MaxViT"]: (128, 224)}  # its windows want whole strides of 32
PHOTOS = 8
HEADER = (
    "| backbone | pixels | parameters | features | ONNX − PyTorch, at most | heat map |\n"
    "|---|---|---|---|---|---|"
)


class Outcome(NamedTuple):
    """What came of a backbone.

    Attributes:
        parameters: of the backbone.
        features: that it gives of a photo.
        difference: the largest between the two runtimes' probabilities.
        heat_side: height and width of the heat maps; 0: it keeps no maps.
        hot: the fraction of the photos in which something speaks for one of the labels.
    """

    parameters: int
    features: int
    difference: float
    heat_side: int
    hot: float

    @property
    def holds(self) -> bool:
        return self.difference <= ONNX_TOLERANCE and self.hot > 0

    def __str__(self) -> str:
        heat = f"{self.heat_side} × {self.heat_side}" if self.heat_side else "none"
        cells = (
            f"{self.parameters / 1e6:.1f} million",
            f"{self.features:,}",
            number(self.difference),
            heat,
        )
        return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backbones", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"default: {' '.join(FAMILIES.values())}")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="PIXELS")
    parser.add_argument("--pooling", choices=["backbone", "attention"], default="backbone")
    given = parser.parse_args()
    shared = os.environ.get("TAGLOOM_SHARED")
    named = {name: name for name in given.names} or FAMILIES
    print(f"{machine()}\n\n{HEADER}", flush=True)
    failed = []
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        files = photos(Path(folder, "photos"), PHOTOS, Path(shared) if shared else None)
        for family, name in named.items():
            for size in given.sizes or OTHERS.get(name, SIZES):
                what = family if family == name else f"{family}, {name}"
                outcome = outcome_of(name, size, files, given.pooling)
                print(f"| {what} | {size} | {outcome} |", flush=True)
                failed += [] if outcome.holds else [f"{name} at {size}"]
    if failed:
        sys.exit(f"not as they should be: {', '.join(failed)}")


def outcome_of(name: str, size: int, files: list[Path], pooling: str) -> Outcome:
    """Takes a backbone for photos of ``size`` pixels through all of it."""
    device = torch.device("cpu")
    torch.manual_seed(0)
    plain = s0(name).model_copy(update={"pooling": pooling})
    still = plain.augment.model_copy(update=dict.fromkeys(CHANGES, 0) | {"crop": None})
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        rows = fill(files, Path(folder, "images"), size)
        trainer = Trainer(plain.model_copy(update={"augment": still}), rows, device)
        trainer.epoch(rows.batches(len(rows), device), len(rows))
        bundle = Path(folder, "bundle")
        write_bundle(trainer, bundle)
        stored = rows.store.gather(rows.images)
        torchs, onnxs = (
            load_model(bundle, runtime).probabilities(stored, None) for runtime in ("torch", "onnx")
        )
        heat = heat_of(bundle, rows)
    backbone = trainer.network.backbone
    return Outcome(
        parameters=sum(weight.numel() for weight in backbone.parameters()),
        features=trainer.network.fusion.head.in_features,
        difference=float(np.abs(torchs - onnxs).max()),
        heat_side=heat.shape[-1],
        hot=float(np.mean(heat.any(axis=(1, 2)))) if heat.size else 0.0,
    )


def write_bundle(trainer: Trainer, folder: Path) -> None:
    """What the stage bundle writes, with a decision that was not looked for."""
    network = folder.with_name("network")
    save_network(trainer.network, trainer.description, None, network)
    folder.mkdir()
    half_precision.write(network / WEIGHTS, folder / WEIGHTS, "float32")
    labels = trainer.description.labels
    decision = Decision(labels, [0.5] * len(labels), "global", "micro_f1", 0.0)
    content = {"description": asdict(trainer.description), "decision": asdict(decision)}
    content |= {"metrics": None, "provenance": None}
    seal(folder, content)
    answer = InferenceModule.of(read_bundle(folder), None)
    graph.write(graph.export(answer), folder / ONNX, folder / WEIGHTS)
    seal(folder, content)


def heat_of(bundle: Path, rows: Rows) -> np.ndarray:
    """A heat map for each photo and label, float32 (photos × labels, side, side)."""
    explainer = Explainer(read_bundle(bundle))
    if not explainer.layers:
        return np.zeros((0, 0, 0), np.float32)
    images, labels = np.repeat(rows.images, LABELS), np.tile(np.arange(LABELS), len(rows))
    records = pl.DataFrame({"image": images, "caption": None})
    return explainer.heat_maps(records, rows.store, labels)


if __name__ == "__main__":
    main()
