"""A network on disk and in use: saved, loaded, fed, and asked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import MOST_WEIGHT, Product
from stages.network.network import (
    fit_fusion,
    load_network,
    logits,
    new_network,
    rows_for,
    save_network,
)
from tests.network import tiny_bert

CPU = torch.device("cpu")
LABELS = ["a", "b", "c"]
ROWS = 12
TEXT = {
    "encoder": "gru",
    "bidirectional": True,
    "embedding": 4,
    "embeddings": None,
    "hidden": 3,
    "transformer": None,
    "max_tokens": 8,
    "frozen_layers": 0,
    "dropout": 0.0,
    "caption_dropout": 0.0,
}
DESCRIPTION = Description(
    labels=LABELS,
    inputs="image+caption",
    backbone="small_cnn",
    stored_size=32,
    crop=None,
    feature_norm="layer",
    fusion="concat",
    dropout=0.0,
    flip=False,
    precision="fp32",
    text=TEXT,
    vocabulary={
        "words": ["one", "two", "three"],
        "normalize": "none",
        "drop_stop_words": False,
        "max_length": 6,
    },
)


def store_of(pixels: np.ndarray, folder: Path) -> ImageStore:
    folder.mkdir()
    np.save(folder / "00000.npy", pixels)
    return ImageStore(folder)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (ROWS, 32, 32, 3), np.uint8)


@pytest.fixture
def store(pixels: np.ndarray, tmp_path: Path) -> ImageStore:
    return store_of(pixels, tmp_path / "images")


def rows_of(description: Description, words, store: ImageStore) -> Rows:
    captions = ["one two", None, "three", "two three one"] * (ROWS // 4)
    records = pl.DataFrame({"image": range(ROWS), "caption": captions})
    targets = np.random.default_rng(1).random((ROWS, len(LABELS))) < 0.4
    return rows_for(description, records, store, words, targets)


def logits_of(network, description: Description, rows: Rows) -> torch.Tensor:
    batches = rows.batches(5, CPU)
    return torch.cat([each for _, each in logits(network, description, batches, "fp32")])


@pytest.mark.parametrize("encoder", ["gru", "transformer"])
@pytest.mark.parametrize("fusion", ["concat-batchnorm", "late", "product"])
def test_loaded_it_gives_the_same_logits(tmp_path: Path, store: ImageStore, encoder, fusion):
    torch.manual_seed(0)
    bert = tiny_bert.write(tmp_path / "bert") if encoder == "transformer" else None
    text = TEXT | {"encoder": encoder, "transformer": bert and str(bert)}
    description = replace(DESCRIPTION, text=text, fusion=fusion)
    network, words = new_network(description)
    rows = rows_of(description, words, store)
    expected = logits_of(network, description, rows)
    save_network(network, description, words, tmp_path / "network")
    if bert is not None:
        bert.rename(tmp_path / "gone")
    again, description_again, words = load_network(tmp_path / "network")
    assert replace(description_again, mean=description.mean, std=description.std) == description
    assert torch.equal(logits_of(again, description, rows_of(description, words, store)), expected)
    assert not list((tmp_path / "network").rglob("*.bin"))


def test_a_flip_takes_the_mean_with_the_mirror_image(
    pixels: np.ndarray, store: ImageStore, tmp_path: Path
):
    torch.manual_seed(0)
    network, words = new_network(DESCRIPTION)
    rows = rows_of(DESCRIPTION, words, store)
    plain = logits_of(network, DESCRIPTION, rows)
    mirror = store_of(pixels[:, :, ::-1], tmp_path / "mirror")
    mirrored = logits_of(network, DESCRIPTION, rows_of(DESCRIPTION, words, mirror))
    assert not torch.allclose(plain, mirrored)
    both = logits_of(network, replace(DESCRIPTION, flip=True), rows)
    assert torch.allclose(both, (plain + mirrored) / 2, atol=1e-5)


# What is fit in each fusion of experts, and a grid around it.
FIT = {
    "late": ("share", [torch.tensor(each) for each in np.linspace(0, 1, 21)]),
    "product": ("weights", list(torch.cartesian_prod(*[torch.linspace(0, 2, 5)] * 2))),
}


def experts(fusion: str, store: ImageStore) -> tuple[Classifier, Description, Rows]:
    torch.manual_seed(0)
    description = replace(DESCRIPTION, fusion=fusion)
    network, words = new_network(description)
    network.fusion.image.weight.data *= 5  # so that what is best lies inside
    return network, description, rows_of(description, words, store)


@pytest.mark.parametrize("fusion", FIT)
def test_experts_are_joined_with_the_least_log_loss(store: ImageStore, fusion: str):
    network, description, rows = experts(fusion, store)
    if fusion == "product":
        network.fusion.prior.copy_(torch.tensor([-1.0, 0.5, 1.0]))
    fit_fusion(network, description, rows.batches(5, CPU), "fp32")
    name, grid = FIT[fusion]
    fitted = getattr(network.fusion, name)

    def loss(value: torch.Tensor) -> float:
        fitted.copy_(value)
        probabilities = logits_of(network, description, rows).sigmoid()
        return log_loss(rows.targets.numpy().ravel(), probabilities.numpy().ravel())

    least = loss(fitted.clone())
    assert all(least <= loss(other) + 1e-6 for other in grid)


@pytest.mark.parametrize("fusion", FIT)
def test_experts_are_joined_by_what_is_known(store: ImageStore, fusion: str):
    network, description, rows = experts(fusion, store)
    known = torch.rand(rows.targets.shape) < 0.5

    def fitted(rows: Rows) -> torch.Tensor:
        fit_fusion(network, description, rows.batches(5, CPU), "fp32")
        return getattr(network.fusion, FIT[fusion][0]).clone()

    one, other = (
        fitted(replace(rows, targets=targets, known=known))
        for targets in (rows.targets, torch.where(known, rows.targets, 1 - rows.targets))
    )
    assert torch.allclose(one, other, atol=1e-5)
    assert not torch.allclose(one, fitted(rows), atol=1e-2)


def test_experts_that_never_err_have_finite_weights():
    product = Product(nn.Linear(2, 3), nn.Linear(2, 3), 0.0)
    truth = torch.rand(9, 3).double().round()
    product.fit(2 * truth - 1, 2 * truth - 1, truth, torch.ones_like(truth))
    assert torch.equal(product.weights, torch.full((2,), MOST_WEIGHT))


def test_word_vectors_in_a_file_are_where_training_starts(tmp_path: Path):
    file = tmp_path / "vectors.txt"
    file.write_text("two 1 2 3 4\n")
    network, _ = new_network(replace(DESCRIPTION, text=TEXT | {"embeddings": str(file)}))
    assert network.captions.vectors.weight[3].tolist() == [1, 2, 3, 4]
    assert network.captions.coverage == pytest.approx(1 / 3)
