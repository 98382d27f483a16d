"""The loop: what it validates and keeps, what thaws when, and that a restart changes nothing."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from stages import UserError, metrics
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.description import Description
from stages.network.nets import backbones
from stages.network.nets.classifier import Classifier
from stages.network.nets.small_cnn import SmallCNN
from stages.network.network import new_network
from stages.params import read
from stages.train.distributed import ALONE
from stages.train.loop import Diverged, Result, fit, predict
from stages.train.params import Train
from stages.train.run_metrics import left_out, outcome
from stages.train.start import build_network
from stages.vocab import vocabulary
from stages.vocab.vocabulary import Vocabulary
from tests.conftest import ROOT

LABELS, PHOTOS, SIDE = 3, 48, 16


class Memory:
    """A checkpoint that lies in memory, each epoch's state beside the others."""

    def __init__(self) -> None:
        self.states: list[bytes] = []

    def save(self, state: dict[str, Any]) -> None:
        kept = io.BytesIO()
        torch.save(state, kept)
        self.states.append(kept.getvalue())

    def load(self) -> dict[str, Any] | None:
        return self.state(-1) if self.states else None

    def state(self, epoch: int) -> dict[str, Any]:
        return torch.load(io.BytesIO(self.states[epoch]), weights_only=True)


class Run(NamedTuple):
    network: Classifier
    result: Result
    train: Rows
    validation: Rows
    description: Description
    reported: list[dict[str, float]]

    def probabilities(self) -> np.ndarray:
        return predict(self.network, self.description, self.validation, 8, "fp32")


def changed(**changes) -> Train:
    given = read(Train, ROOT / "params.yaml").model_dump()
    given["text"] |= {"embedding": 8, "hidden": 8}
    for section in ("schedule", "loss", "augment"):
        given[section] |= changes.pop(section, {})
    both = {"inputs": "image+caption", "batch_size": 8, "epochs": 4}
    return Train(**given | both | changes)


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Run]:
    """A function that trains on noise with captions that tell the labels, a fresh network."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (PHOTOS, SIDE, SIDE, 3), np.uint8)
    np.save(tmp_path / "00000.npy", pixels)
    store = ImageStore(tmp_path)
    targets = generator.random((PHOTOS, LABELS)) < 0.4
    names = np.array(["ant", "bee", "cat"])
    captions = [" ".join(names[row]) if row.any() else None for row in targets]
    words = Vocabulary(list(names), "none", False, 4)

    def run(
        params: Train,
        checkpoint: Memory | None = None,
        until: int | None = None,
        known: np.ndarray | None = None,
        **described: Any,
    ) -> Run:
        description = Description(
            labels=list(names), inputs=params.inputs, backbone=params.backbone, stored_size=SIDE,
            crop=None, feature_norm=params.feature_norm, fusion=params.fusion,
            dropout=params.dropout, flip=False, precision="fp32", text=params.text.model_dump(),
            vocabulary=vocabulary.to_json(words), **described,
        )  # fmt: skip
        torch.manual_seed(params.seed)
        network, _ = new_network(description, params.weights, params.freeze, params.frozen_layers)
        parts = (np.arange(32), np.arange(32, PHOTOS))
        numbers = torch.from_numpy(words.encode(captions))
        truth = torch.from_numpy(targets if known is None else targets & known).float()
        mask = None if known is None else torch.from_numpy(known)
        train, validation = (
            Rows(
                store, part, numbers[part], truth[part], known=None if mask is None else mask[part]
            )
            for part in parts
        )
        if params.views is not None:
            size = params.views, PHOTOS, network.backbone.features
            noise = np.random.default_rng(0).normal(size=size)
            train, validation = (
                replace(rows, features=list(noise.astype(np.float32)))
                for rows in (train, validation)
            )
        reported: list[dict[str, float]] = []

        def report(epoch: dict[str, float]) -> None:
            reported.append(epoch)
            if len(reported) == until:
                raise KeyboardInterrupt

        memory = checkpoint or Memory()
        result = fit(network, description, train, validation, params, memory, report)
        return Run(network, result, train, validation, description, reported)

    return run


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


def test_what_diverges_in_its_last_step_is_not_kept(train):
    """The loss of that step is still a number; what the step makes of the weights is not."""
    with pytest.raises(Diverged, match=r"lower train\.lr \(1e\+36\)"):
        train(changed(epochs=1, batch_size=32, optimizer="sgd", lr=1e36))


def test_the_epochs_before_it_diverged_count(train, capsys):
    schedule = {"name": "cosine", "warmup": 0.99, "start": 1e-38}  # harmless for an epoch
    run = train(changed(epochs=6, batch_size=32, optimizer="sgd", lr=1e38, schedule=schedule))
    best = run.result.best_epoch
    assert 1 <= best <= len(run.result.history) < 6
    assert f"The network of epoch {best} is kept" in capsys.readouterr().out
    assert np.isfinite(run.probabilities()).all()


EVERYTHING = {
    "fusion": "late",
    "freeze": True,
    "unfreeze": 1,
    "ema": 0.8,
    "momentum": 0.95,
    "dropout": 0.3,
    "decay": "weights",
    "schedule": {"momentum": 0.85},
}


@pytest.mark.parametrize(
    "changes",
    [
        EVERYTHING,
        EVERYTHING | {"optimizer": "sgd", "lr": 0.3, "ema": 0.0, "early_stopping": 3},
        {"optimizer": "rmsprop", "schedule": {"name": "plateau"}, "ema": 0.5},
        {
            "loss": {"positive_weight": "balanced"},
            "schedule": {"name": "cosine"},
            "fusion": "product",
        },
        {
            "augment": {"mixup": 0.4, "cutmix": 1.0, "resized_crop": (0.5, 1)},
            "accumulate": 3,
            "clip": 0.5,
            "progressive": 0.5,
        },
        {"freeze": True, "views": 3},
    ],
)
def test_interrupted_it_ends_with_the_same_weights(train, changes):
    params = changed(**changes)
    whole = train(params)
    memory = Memory()
    for epochs in (1, 3):  # the second time it first reports the epoch before the interruption
        with pytest.raises(KeyboardInterrupt):
            train(params, memory, until=epochs)
    parted = train(params, memory)
    assert len(memory.states) == 4
    assert same(whole.network.state_dict(), parted.network.state_dict())
    assert parted.result.best_epoch == whole.result.best_epoch
    assert len(parted.reported) == len(whole.reported) == 4
    for one, other in zip(whole.reported, parted.reported, strict=True):
        timed = "train/photos_per_second"
        assert {**one, timed: 0} == {**other, timed: 0}


@pytest.mark.parametrize("fusion", ["concat", "product"])
@pytest.mark.parametrize("ema", [0, 0.5])
def test_what_was_validated_is_what_is_kept(train, fusion: str, ema: float):
    memory = Memory()
    run = train(changed(fusion=fusion, ema=ema), memory)
    truth, probabilities = run.validation.targets.numpy() > 0.5, run.probabilities()
    best, precision = run.result.best, metrics.mean_average_precision(truth, probabilities)
    assert best == run.result.history[run.result.best_epoch - 1]
    assert best["validation/micro_f1"] == metrics.micro_f1(truth, probabilities >= 0.5)
    assert best["validation/mean_average_precision"] == precision
    at_best = memory.state(run.result.best_epoch - 1)
    averaged = at_best["optimization"]["average"]["network"] if ema else at_best["network"]
    assert same(run.network.state_dict(), averaged)
    assert same(averaged, at_best["network"]) == (not ema)


KNOWN = np.random.default_rng(2).random((PHOTOS, LABELS)) > 0.4


@pytest.mark.parametrize("fusion", ["concat", "late", "product"])
def test_what_is_unknown_is_not_measured(train, fusion: str):
    run = train(changed(fusion=fusion), known=KNOWN)
    truth, known = run.validation.targets.numpy() > 0.5, run.validation.known.numpy()
    probabilities, best = run.probabilities(), run.result.best
    for name in ("micro_f1", "macro_f1"):
        expected = getattr(metrics, name)(truth, probabilities >= 0.5, known)
        assert best[f"validation/{name}"] == expected
    expected = metrics.mean_average_precision(truth, probabilities, known)
    assert best["validation/mean_average_precision"] == expected
    expected = log_loss(truth[known], probabilities[known])
    assert best["validation/loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("changes", [{"fusion": "late"}, {"loss": {"positive_weight": "balanced"}}])
def test_with_everything_known_it_ends_with_the_same_weights(train, changes):
    params = changed(**changes)
    plain, masked = train(params), train(params, known=np.ones_like(KNOWN))
    assert same(plain.network.state_dict(), masked.network.state_dict())
    assert plain.result.best["validation/loss"] == masked.result.best["validation/loss"]


def test_the_expert_that_knows_more_counts_more(train):
    # The photos are noise, the captions tell all.
    late, product = (train(changed(fusion=f, lr=0.03)).network.fusion for f in ("late", "product"))
    assert float(late.share) < 0.3
    image, caption = product.weights.tolist()
    assert image < 0.3 * caption


@pytest.mark.parametrize("fusion", ["concat", "product"])
def test_what_each_input_says_without_the_other_is_measured(train, fusion: str):
    run = train(changed(fusion=fusion, lr=0.03), known=KNOWN)
    asked = run.network, run.description, run.validation, 8, "fp32", ALONE
    figures = left_out(*asked)
    # The photos are noise, the captions tell all.
    precision = {name: each["mean_average_precision"] for name, each in figures.items()}
    assert precision["without_photos"] > precision["without_captions"]
    silent = replace(run.validation, words=torch.zeros_like(run.validation.words))
    truth, known = silent.targets.numpy() > 0.5, silent.known.numpy()
    probabilities = predict(run.network, run.description, silent, 8, "fp32")
    assert figures["without_captions"] == {
        "micro_f1": metrics.micro_f1(truth, probabilities >= 0.5, known),
        "mean_average_precision": metrics.mean_average_precision(truth, probabilities, known),
    }
    assert left_out(run.network, replace(run.description, inputs="image"), *asked[2:]) == {}


def test_nothing_thaws_where_photos_are_not_looked_at(train):
    run = train(changed(inputs="caption", freeze=True, unfreeze=1))
    assert run.network.backbone is None


def test_a_frozen_backbone_thaws_from_the_top_a_part_at_a_time(train):
    memory = Memory()
    params = changed(freeze=True, unfreeze=2, epochs=6)
    run = train(params, memory)
    parts = backbones.parts(run.network.backbone)
    names = [
        {
            name
            for name, weight in run.network.named_parameters()
            if weight in set(part.parameters())
        }
        for part in parts
    ]
    before = train(changed(freeze=True, epochs=1)).network.state_dict()
    learnt = []
    for epoch in range(6):
        after = memory.state(epoch)["network"]
        learnt.append([not same(*({n: s[n] for n in part} for s in (before, after)))
                       for part in names])  # fmt: skip
        before = after
    below = [False] * (len(parts) - 2)
    none, one, two = [*below, False, False], [*below, False, True], [*below, True, True]
    assert learnt == [none, none, one, one, two, two]


def test_the_first_layers_stay_as_they_are(train):
    before = train(changed(freeze=True, epochs=1)).network.backbone
    after = train(changed(frozen_layers=1, epochs=1)).network.backbone
    pairs = zip(backbones.parts(before), backbones.parts(after), strict=True)
    learnt = [not same(a.state_dict(), b.state_dict()) for a, b in pairs]
    assert learnt == [False] + [True] * (len(learnt) - 1)


def test_the_stage_freezes_as_many_layers_as_it_is_told_to(train):
    description = train(changed(epochs=1)).description
    network, _ = build_network(changed(frozen_layers=2), description, ALONE)
    parts = backbones.parts(network.backbone)
    learning = [any(w.requires_grad for w in part.parameters()) for part in parts]
    assert learning == [False] * 2 + [True] * (len(parts) - 2)
    count = len(parts)
    with pytest.raises(UserError, match=rf"train\.frozen_layers is {count}, .* {count} layers"):
        build_network(changed(frozen_layers=count), description, ALONE)


@pytest.mark.parametrize("changes", [{"fusion": "product"}, {"ema": 0.5}])
def test_it_starts_from_the_labels_rates(train, changes):
    known = KNOWN | (np.arange(LABELS) > 0)
    params = changed(epochs=1, lr=1e-9, **changes)
    run = train(params, known=known)
    rates = run.train.targets.sum(dim=0).numpy() / run.train.known.sum(dim=0).numpy()
    assert np.abs(run.probabilities() - rates).max() < 0.1
    if params.fusion == "product":
        prior = run.network.fusion.prior.sigmoid().numpy()
        assert np.abs(prior - rates).max() < 0.05  # half a row more on either side


@pytest.mark.parametrize("ema", [0, 0.5])
def test_without_an_epoch_the_network_is_validated_as_it_starts(train, ema: float):
    params = changed(epochs=0, fusion="late", ema=ema)
    run = train(params)
    fresh, _ = (torch.manual_seed(params.seed), new_network(run.description))[1]
    start = fresh.state_dict() | {"fusion.share": run.network.fusion.share}  # set by validation
    assert same(run.network.state_dict(), start)
    assert (run.result.history, run.result.best_epoch) == ([], 0)
    assert run.reported == [run.result.best]
    truth = run.validation.targets.numpy() > 0.5
    f1 = metrics.micro_f1(truth, run.probabilities() >= 0.5)
    assert run.result.best["validation/micro_f1"] == f1
    figures = outcome(run.result, megabytes=2.0, feature_seconds=0.0)
    assert (figures["epochs"], figures["best_epoch"], figures["seconds"]) == (0, 0, 0)
    assert figures["validation"]["micro_f1"] == f1
    assert figures["f1_per_mb"] == f1 / 2
    assert figures["loss"] is figures["photos_per_second"] is figures["f1_per_hour"] is None


def test_photos_are_normalised_as_the_description_says(train, monkeypatch):
    seen: list[torch.Tensor] = []
    forward = SmallCNN.forward
    monkeypatch.setattr(
        SmallCNN, "forward", lambda *given: seen.append(given[1]) or forward(*given)
    )
    train(changed(inputs="image", epochs=1), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert sum(len(images) for images in seen) == PHOTOS  # to learn from, and to validate
    assert all(images.min() >= 0 and images.max() <= 1 for images in seen)
