"""How many labels are saved by labelling first what ``tagloom next`` names, beside any photos.

Of coco18's 10,000 photos a fifth, labelled, validates. Of the others 500 are labelled at first, and
in each round 250 more, until there are 3,000: those that ``tagloom next`` would name, or any. (Of
fewer photos, as large a part.) Each round a last layer learns anew, on features of
EfficientNet-Lite0 that are computed once. Five seeds start from other photos each. F1 is that of
thresholds found on other photos. It takes real photos.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.features import STILL
from benchmarks.table import Options, Row, main
from benchmarks.unknown import prepare
from stages import metrics
from stages.bundle.selection import doubts, most_telling
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.network import rows_for
from stages.params import read
from stages.split import folds
from stages.threshold import calibration
from stages.threshold.fit import cross_calibrate, cross_fit, find, find_temperature
from stages.threshold.params import Threshold
from stages.train import features
from stages.train.distributed import ALONE
from stages.train.params import Train
from stages.train.start import build_network, describe

PHOTOS = 10_000
FIRST, ROUND, LAST = 1 / 16, 1 / 32, 12 / 32  # of the photos that do not validate, labelled
SEEDS = 5
DECAY = 0.1  # of the weights; of 0.01 to 0.3 the best with 500 labels and with 8,000
CHANGES: dict[str, Any] = {
    "ingest": {"image_size": 224},
    "train": {
        "inputs": "image",
        "backbone": "timm/tf_efficientnet_lite0",
        "freeze": True,
        "feature_norm": "batch",
        "augment": STILL,
    },
}
WAYS = ("doubt", "random")
FIGURES = {"micro-F1": metrics.micro_f1, "macro-F1": metrics.macro_f1}


class Part(NamedTuple):
    """Features, float32 (rows, features), and the truth, bool (rows, labels)."""

    seen: torch.Tensor
    truth: np.ndarray


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    if options.shared is None:
        yield Row("labels for random's F1", "random", "", [], [], "≤ 0.7", "takes real photos")
        return
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder, chdir(folder):
        os.environ["TAGLOOM_CACHE"] = str(Path(folder) / "cache")
        weights = options.shared / "weights" / "tf_efficientnet_lite0.safetensors"
        prepare(min(PHOTOS, options.photos), options.shared, CHANGES, weights)
        pool, validation = standardised(*parts())
        first, step, last = (round(len(pool.truth) * part) for part in (FIRST, ROUND, LAST))
        sizes = [*range(first, last + 1, step)]
        curves = {  # by way: (seeds, rounds, figures)
            way: np.array([curve(way, seed, sizes, pool, validation) for seed in range(SEEDS)])
            for way in WAYS
        }
    for figure, name in enumerate(FIGURES):
        ours, theirs = (curves[way][:, :, figure] for way in WAYS)
        for place, size in enumerate(sizes):
            yield Row(
                f"{name} with {size:,} labels, by doubt",
                *("any", "", list(ours[:, place]), list(theirs[:, place])),
            )
        for size in sizes[2::2]:
            aim = theirs[:, sizes.index(size)].mean()
            needed = [reached(sizes, of_seed, aim) for of_seed in ours]
            yield Row(
                f"labels for the {name} of {size:,} of any, {aim:.3f}",
                *("any", "", needed, [float(size)] * SEEDS, "≤ 0.7"),
            )


def parts() -> tuple[Part, Part]:
    """The photos that are labelled bit by bit, and those that validate."""
    params, names, store = read(Train), records.read_label_names(), ImageStore()
    description = describe(params, names, store.form)
    network, words = build_network(params, description, ALONE)

    def of(part: str) -> Any:
        photos = folds.rows_of(records.read(), folds.read(), part)
        truth = records.label_matrix(photos["labels"], names)
        return rows_for(description, photos, store, words, truth)

    given = features.in_place_of_photos(
        *(of("train"), of("validation"), network, description, params, "fp32", ALONE)
    )
    pool, validation = (
        Part(torch.from_numpy(each.features[0][each.images]), each.targets.numpy() > 0.5)
        for each in given[:2]
    )
    return pool, validation


def standardised(pool: Part, other: Part) -> tuple[Part, Part]:
    """Both, with features of mean 0 and standard deviation 1 in the first."""
    std, mean = torch.std_mean(pool.seen, dim=0, correction=0)
    first, second = ((part.seen - mean) / (std + 1e-6) for part in (pool, other))
    return Part(first, pool.truth), Part(second, other.truth)


def curve(
    way: str, seed: int, sizes: list[int], pool: Part, validation: Part
) -> list[tuple[float, ...]]:
    """``FIGURES`` on validation with so many labelled photos."""
    generator, params = np.random.default_rng(seed), read(Threshold)
    order = generator.permutation(len(pool.truth))
    labelled, rest = order[: sizes[0]], order[sizes[0] :]
    found = []
    for size, after in zip_longest(sizes, sizes[1:]):
        weight, bias = fitted(pool.seen[labelled], pool.truth[labelled])
        said = torch.sigmoid(validation.seen @ weight + bias).numpy()
        scores = cross_calibrate(validation.truth, said, params)
        decided = cross_fit(validation.truth, scores, params)
        found.append(
            (
                metrics.micro_f1(validation.truth, decided),
                metrics.macro_f1(validation.truth, decided),
            )
        )
        if after is None:
            break
        count = after - size
        if way == "random":
            chosen = np.arange(count)  # the order is random
        else:
            temperature = find_temperature(validation.truth, said, params)
            scaled = calibration.scaled(said, temperature)
            thresholds = find(validation.truth, scaled, params)
            candidates = torch.sigmoid(pool.seen[rest] @ weight + bias).numpy()
            doubt = doubts(calibration.scaled(candidates, temperature), thresholds)
            chosen = most_telling(doubt.sum(axis=1), pool.seen[rest].numpy(), count)
        labelled, rest = np.append(labelled, rest[chosen]), np.delete(rest, chosen)
    return found


def fitted(seen: torch.Tensor, truth: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The last layer of the least log loss, with weight decay: (features, labels), (labels,)."""
    targets = torch.from_numpy(truth).float()
    rates = targets.mean(dim=0).clamp(1 / len(truth), 1 - 1 / len(truth))
    weight = torch.zeros(seen.shape[1], truth.shape[1], requires_grad=True)
    bias = torch.logit(rates).requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        entropy = F.binary_cross_entropy_with_logits(seen @ weight + bias, targets)
        total = entropy * truth.shape[1] + DECAY / 2 * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weight.detach(), bias.detach()


def reached(sizes: list[int], figures: np.ndarray, aim: float) -> float:
    """How many labels a curve takes to an aim, for the first time; the most where it never does."""
    if figures[0] >= aim:
        return float(sizes[0])
    for (size, figure), (after, next_figure) in pairwise(zip(sizes, figures, strict=True)):
        if next_figure >= aim:
            return float(size + (after - size) * (aim - figure) / (next_figure - figure))
    return float(sizes[-1])


if __name__ == "__main__":
    main(rows, __file__)
