"""Trains the same few runs on any number of devices: in a test by itself, or in two processes.

``python -m tests.train.devices FOLDER``, as each process of a launcher, leaves in the folder what
came of them. With ``one-gpu`` behind it they share a GPU, which the stage itself refuses.
"""

import copy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from stages import run
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.network import new_network
from stages.params import read
from stages.train import distributed
from stages.train.distributed import Group
from stages.train.loop import fit, predict
from stages.train.params import Train
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary
from tests.conftest import ROOT

NAMES = ["ant", "bee", "cat"]
PHOTOS, SIDE, TRAINED = 64, 20, 45  # 45 rows, 8 at a time: the last batch has 5

# Dropout differs from device to device; without it, nothing does. Not with Adam, which makes a step
# of the slightest difference where a gradient is next to nothing.
DETERMINISTIC: dict[str, Any] = {
    "fusion": "concat", "dropout": 0.0, "optimizer": "sgd", "lr": 0.02, "epochs": 3,
    "batch_size": 8, "precision": "fp32",
    "schedule": {"name": "one-cycle", "momentum": 0.85},
    "augment": {"crop": 16, "horizontal_flip": 0.5, "rotation": 10, "brightness": 0.2, "hue": 0.1,
                "grey": 0.2, "randaugment": 1, "cutout": 0.2},
}  # fmt: skip
RUNS = {
    "batch norm": DETERMINISTIC,
    "mixed, in pieces": DETERMINISTIC | {
        "freeze": True, "accumulate": 2, "clip": 0.5, "loss": {"unknown": "ignore"},
        "augment": DETERMINISTIC["augment"] | {"mixup": 0.4, "cutmix": 1.0, "mixed": 0.7},
    },
    "in stretches": DETERMINISTIC | {"shuffle": 0},
    "product, thawing": DETERMINISTIC | {
        "fusion": "product", "freeze": True, "unfreeze": 1, "ema": 0.7, "early_stopping": 2,
        "feature_norm": "batch", "schedule": {"name": "plateau", "patience": 1},
        "loss": {"positive_weight": "balanced", "unknown": "weak-negative"}, "epochs": 5,
    },
}  # fmt: skip


class Memory:
    """A checkpoint that lies in memory; ``state`` is where to go on from."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.states = [state] if state else []

    def save(self, state: dict[str, Any]) -> None:
        self.states.append(copy.deepcopy(state))

    def load(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None


class Watched(ImageStore):
    """Notes in ``read`` which rows are read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: set[int] = set()

    def photo(self, row: int) -> np.ndarray:
        self.read.add(int(row))
        return super().photo(row)


def params(changes: dict[str, Any]) -> Train:
    given = read(Train, ROOT / "params.yaml").model_dump() | {"inputs": "image+caption"}
    for name, value in changes.items():
        given[name] = given[name] | value if isinstance(value, dict) else value
    given["text"] |= {"embedding": 8, "hidden": 8, "dropout": 0.0, "caption_dropout": 0.0}
    return Train(**given)


def train(folder: Path, changes: dict[str, Any], group: Group, memory: Memory) -> dict[str, Any]:
    """Trains on the photos in ``folder`` and returns weights, figures and probabilities.

    A third of the labels is unknown where ``changes`` say how they count.
    """
    given, generator = params(changes), np.random.default_rng(0)
    targets = generator.random((PHOTOS, len(NAMES))) < 0.4
    known = torch.from_numpy(generator.random(targets.shape) > 1 / 3)
    some = "unknown" in changes.get("loss", {})
    captions = [" ".join(np.array(NAMES)[row]) if row.any() else None for row in targets]
    words = Vocabulary(NAMES, "none", False, 4)
    description = Description(
        labels=NAMES, inputs=given.inputs, backbone=given.backbone, stored_size=SIDE,
        crop=given.augment.crop, feature_norm=given.feature_norm, fusion=given.fusion,
        dropout=given.dropout, flip=False, precision="fp32", text=given.text.model_dump(),
        vocabulary=vocabulary.to_json(words),
    )  # fmt: skip
    torch.manual_seed(given.seed)
    network, _ = new_network(description, given.weights, given.freeze)
    network.to(group.device)
    group.synchronise(network)
    numbers, truth = torch.from_numpy(words.encode(captions)), torch.from_numpy(targets).float()
    truth = truth * known if some else truth
    store = Watched(folder)
    training, validation = (
        Rows(store, part, numbers[part], truth[part], known=known[part] if some else None)
        for part in (np.arange(TRAINED), np.arange(TRAINED, PHOTOS))
    )
    result = fit(
        network, description, training, validation, given, memory, lambda epoch: None, group
    )
    probabilities = predict(network, description, validation, given.batch_size, "fp32", group)
    return {
        "weights": {name: tensor.cpu() for name, tensor in network.state_dict().items()},
        "history": result.history,
        "best": result.best_epoch,
        "probabilities": torch.from_numpy(probabilities),
        "saved": len(memory.states),
        "read": sorted(store.read),
    }


@contextmanager
def sharing_a_gpu() -> Iterator[Group]:
    """The group of processes on one GPU: NCCL refuses such, gloo exchanges what lies there, too."""
    dist.init_process_group("gloo")
    yield Group(torch.device("cuda", 0), dist.get_rank(), dist.get_world_size())
    dist.destroy_process_group()


def main() -> None:
    folder = Path(sys.argv[1])
    with sharing_a_gpu() if "one-gpu" in sys.argv else distributed.group("auto", 8) as group:
        for name, changes in RUNS.items():
            outcome = train(folder, changes, group, Memory())
            torch.save(outcome, folder / f"{name} {group.rank}.pt")
        state = torch.load(folder / "state.pt", weights_only=True) if group.is_first else None
        outcome = train(folder, DETERMINISTIC, group, Memory(state))
        torch.save(outcome, folder / f"from a checkpoint {group.rank}.pt")


if __name__ == "__main__":
    run(main)
