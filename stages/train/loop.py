"""The training loop: read it from top to bottom."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from stages import UserError, metrics
from stages.network.batches import Batch, Rows, Shard
from stages.network.description import Description
from stages.network.nets.classifier import Classifier
from stages.network.network import fit_fusion, logits
from stages.progress import Progress
from stages.train import mixing, progressive
from stages.train.accumulation import pieces
from stages.train.augment import augmented
from stages.train.checkpoint import Checkpoint
from stages.train.compilation import compile_on_gpu
from stages.train.distributed import ALONE, Group
from stages.train.losses import decision_weights
from stages.train.order import epoch_order
from stages.train.params import Train
from stages.train.recipe import Optimization
from stages.train.start import start_at_rates

STEPS_BETWEEN_FIGURES = 20  # reading a figure from a GPU makes it wait

# By the names that they have in DVCLive's curves: ``train/loss``.
Figures = dict[str, float]


class Diverged(UserError):
    """What was learnt is no longer made of numbers."""


@dataclass
class Result:
    """The outcome of a run.

    Attributes:
        history: the figures of each epoch, in order.
        best_epoch: from 1; the network holds its weights when ``fit`` returns. 0: it holds those
            it started with, since ``train.epochs`` is 0.
        best: the figures of that epoch.
        seconds: spent in epochs, those before a restart counted too.
    """

    history: list[Figures]
    best_epoch: int
    best: Figures
    seconds: float


def fit(
    network: Classifier,
    description: Description,
    train: Rows,
    validation: Rows,
    params: Train,
    checkpoint: Checkpoint,
    report: Callable[[Figures], None],
    group: Group = ALONE,
) -> Result:
    """Trains ``network``, which is on its device, and leaves it with the best epoch's weights.

    Every process of ``group`` calls it, with a network of the same weights and the same rows, and
    decides alike; the first keeps the checkpoint, and its clock counts.

    After each epoch the whole state goes to ``checkpoint``; where that holds a state already,
    training goes on from it. ``report`` gets each epoch's figures, those before a restart first.

    It starts from the labels' rates (``start_at_rates``), unless no epoch is asked for.

    Every epoch seeds its own order, augmentation and dropout, so that an epoch does not care
    whether it was reached in one go. With ``train.ema``, the average of the weights is what is
    validated and kept.

    Where what is learnt is no longer made of numbers, the epochs before count, and it says so.

    Raises:
        Diverged: that is so in the first epoch.
        UserError: ``train.max_hours`` is over.
    """
    assert train.targets is not None
    # A lone last row is left out, another one each epoch: batch norm cannot learn from one row.
    rows = len(train) - (len(train) > 1 and len(train) % params.batch_size == 1)
    steps = -(-rows // params.batch_size) * params.epochs
    if params.epochs:  # what is to learn nothing is not to know the labels' rates either
        start_at_rates(network, params, train.targets, train.known)
    optimization = Optimization(network, params, train.targets, steps, train.known)
    if params.epochs == 0:
        figures = validate(optimization, description, validation, group)
        report(figures)
        network.load_state_dict(optimization.eval_network.state_dict())
        return Result([], 0, figures, seconds=0.0)

    run = _Run(network, optimization)
    if (state := group.from_first(checkpoint.load)) is not None:
        run.go_on(state, report)
    if params.compile:
        compile_on_gpu(network, train, description.input_size, optimization, group.size)
    learner = group.parallel(network)
    shard_of = mixing.with_partners(group.shard) if params.augment.mixes else group.shard
    while not run.is_over():
        epoch, started = len(run.history) + 1, time.perf_counter()
        if params.unfreeze and network.backbone is not None:
            network.unfreeze((epoch - 1) // params.unfreeze)
            learner = group.parallel(network)
        shown, order, generator = _seeded(params, epoch, train, group.rank)
        batches = shown.batches(params.batch_size, optimization.device, order[:rows], shard_of)
        side = progressive.side_at(epoch, params, description.input_size)
        try:
            with Progress(f"epoch {epoch} of {params.epochs}", rows, "photos") as progress:
                deadline = started + params.max_hours * 3600 - run.seconds
                figures = train_epoch(
                    *(learner, optimization, description, batches, generator, progress, deadline),
                    *(group, side),
                )
            figures["train/photos_per_second"] = rows / (time.perf_counter() - started)
            figures |= validate(optimization, description, validation, group)
        except Diverged as error:
            if not run.history:
                raise
            print(f"train: {error}. The network of epoch {run.best_epoch} is kept")
            break
        optimization.rate.after_epoch(figures[f"validation/{params.metric}"])
        run.add(figures, time.perf_counter() - started)
        if group.is_first:
            checkpoint.save(run.state_dict())
        report(figures)

    network.load_state_dict(run.best_weights)
    return Result(run.history, run.best_epoch, run.history[run.best_epoch - 1], run.seconds)


class _Run:
    """The state of a run after its last whole epoch: all that a restart needs.

    Attributes:
        best_weights: of the best epoch, on the CPU.
        seconds: spent so far.
    """

    def __init__(self, network: Classifier, optimization: Optimization) -> None:
        self._network, self._optimization = network, optimization
        self.history: list[Figures] = []
        self.best_epoch = 0
        self.best_weights: dict[str, torch.Tensor] = {}
        self.seconds = 0.0

    def add(self, figures: Figures, seconds: float) -> None:
        """Adds an epoch to the history, and keeps its weights where it is the best so far."""
        metric = f"validation/{self._optimization.params.metric}"
        self.history.append(figures)
        self.seconds += seconds
        if not self.best_epoch or figures[metric] > self.history[self.best_epoch - 1][metric]:
            self.best_epoch = len(self.history)
            weights = self._optimization.eval_network.state_dict()
            self.best_weights = {name: t.to("cpu", copy=True) for name, t in weights.items()}

    def is_over(self) -> bool:
        """Whether all epochs are done, or the last ones gave nothing better."""
        params, done = self._optimization.params, len(self.history)
        given_up = params.early_stopping and done - self.best_epoch >= params.early_stopping
        return bool(given_up) or done >= params.epochs

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self._network.state_dict(),
            "optimization": self._optimization.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "seconds": self.seconds,
        }

    def go_on(self, state: dict[str, Any], report: Callable[[Figures], None]) -> None:
        """Takes up a ``state_dict``, and reports its epochs."""
        self._network.load_state_dict(state["network"])
        self._optimization.load_state_dict(state["optimization"])
        self.history, self.seconds = state["history"], state["seconds"]
        self.best_epoch, self.best_weights = state["best_epoch"], state["best_weights"]
        done, epochs = len(self.history), self._optimization.params.epochs
        print(f"train: going on after epoch {done} of {epochs}")
        for figures in self.history:
            report(figures)


def train_epoch(
    network: nn.Module,
    optimization: Optimization,
    description: Description,
    batches: Iterator[Batch],
    generator: torch.Generator,
    progress: Progress,
    deadline: float,
    group: Group = ALONE,
    side: int | None = None,
) -> Figures:
    """One pass over ``batches``; loss and micro-F1 of it, and the learning rate at its end.

    Where photos are mixed, both figures are against the mixed labels.

    Args:
        network: as ``group`` has made it parallel.
        batches: this device's shards of them, with targets.
        generator: of the augmentation's numbers.
        deadline: in seconds of ``time.perf_counter``.
        side: of the photos that the network is to see; None: as ``train.augment.crop`` says.
    """
    params = optimization.params
    prepare = partial(
        augmented,
        params=params.augment,
        generator=generator,
        side=side,
        shard_of=group.shard,
        mean=description.mean,
        std=description.std,
    )
    network.train()
    seen = _Running(optimization.device, group)
    for stored in batches:
        batch = prepare(stored)
        for piece in pieces(batch, params.accumulate, group.size):
            shard, targets = piece.shard, piece.targets
            assert shard is not None and targets is not None
            with optimization.autocast():
                output = network(piece)
            loss = optimization.backward(
                output, targets, shard.weight, piece.known, piece.known_share
            )
            seen.add(loss, output.logits, targets, piece.known, shard)
        optimization.step()
        seen.steps += 1
        if seen.steps % STEPS_BETWEEN_FIGURES == 0:
            progress.show(**{name: f"{figure:.3f}" for name, figure in seen.figures().items()})
        assert batch.shard is not None
        progress.advance(batch.shard.whole)
        if group.is_first and time.perf_counter() > deadline:
            raise UserError(
                f"train.max_hours = {params.max_hours:g} is over in {progress.what}; the epochs "
                "before are kept: raise the budget to go on"
            )
    figures = {f"train/{name}": figure for name, figure in seen.figures().items()}
    if not np.isfinite(figures["train/loss"]):
        raise diverged(f"the loss is {figures['train/loss']} in {progress.what}", optimization)
    return figures | {"train/lr": optimization.optimizer.param_groups[0]["lr"]}


def diverged(what: str, optimization: Optimization) -> Diverged:
    return Diverged(
        f"{what}; lower train.lr ({optimization.params.lr:g}), or set train.precision to fp32 "
        f"({optimization.precision} now)"
    )


def validate(
    optimization: Optimization, description: Description, rows: Rows, group: Group = ALONE
) -> Figures:
    """Loss, F1 at 0.5 and mean average precision on ``rows``, over what is known of their labels.

    How much experts of photo and caption count in the answer is fit before, to the same rows.

    Raises:
        Diverged: a weight or a probability is no number.
    """
    network, precision = optimization.eval_network, optimization.precision
    batch_size = optimization.params.batch_size
    if not all(weight.isfinite().all() for weight in network.parameters()):
        raise diverged("weights are no longer numbers", optimization)
    if network.has_experts:
        batches = _part(rows, batch_size, optimization.device, group)
        fit_fusion(network, description, batches, precision, group.join)
    probabilities = predict(network, description, rows, batch_size, precision, group)
    if not np.isfinite(probabilities).all():
        raise diverged("probabilities of validation are no longer numbers", optimization)
    return group.from_first(lambda: measure(optimization, probabilities, rows))


def measure(optimization: Optimization, probabilities: np.ndarray, rows: Rows) -> Figures:
    """The figures of ``validate`` for the probabilities of ``rows``, float32 (rows, labels)."""
    assert rows.targets is not None
    truth = rows.targets.numpy() > 0.5
    predicted = probabilities >= 0.5
    logits = torch.from_numpy(probabilities).clamp(1e-7, 1 - 1e-7).logit()
    known = weights = None
    if rows.known is not None:
        known = rows.known.numpy()
        weights = decision_weights(rows.known, known.mean(), unknown=0)
    precision = metrics.mean_average_precision(truth, probabilities, known)
    return {
        "validation/loss": float(optimization.loss_of(logits, rows.targets, weights)),
        "validation/micro_f1": metrics.micro_f1(truth, predicted, known),
        "validation/macro_f1": metrics.macro_f1(truth, predicted, known),
        "validation/mean_average_precision": precision,
    }


def predict(
    network: Classifier,
    description: Description,
    rows: Rows,
    batch_size: int,
    precision: str,
    group: Group = ALONE,
) -> np.ndarray:
    """Probabilities of ``rows``, in order: float32 (rows, labels); each device computes a part."""
    batches = _part(rows, batch_size, next(network.parameters()).device, group)
    parts = [torch.zeros(0, len(description.labels))]
    parts += [o.sigmoid().cpu() for _, o in logits(network, description, batches, precision)]
    return group.join(torch.cat(parts)).numpy()


def _part(rows: Rows, batch_size: int, device: torch.device, group: Group) -> Iterator[Batch]:
    """This device's part of ``rows``, in batches as large as its shards in training."""
    order = np.arange(len(rows))[group.part(len(rows))]
    return rows.batches(-(-batch_size // group.size), device, order)


class _Running:
    """Loss and micro-F1 of the epoch so far, summed on the device without waiting for it."""

    def __init__(self, device: torch.device, group: Group) -> None:
        self.steps, self._group = 0, group
        self._loss, self._hits, self._decided = torch.zeros(3, device=device)

    def add(
        self,
        loss: torch.Tensor,
        logits: torch.Tensor,
        targets: torch.Tensor,
        known: torch.Tensor | None,
        shard: Shard,
    ) -> None:
        with torch.no_grad():
            self._loss += loss
            if shard.weight:
                predicted = (logits > 0 if known is None else (logits > 0) & known).float()
                self._hits += (predicted * targets).sum()
                self._decided += predicted.sum() + targets.sum()

    def figures(self) -> Figures:
        """The figures over all devices, each of which has to call this."""
        sums = torch.stack([self._loss, self._hits, self._decided])
        loss, hits, decided = self._group.total(sums).tolist()
        return {
            "loss": loss / self._group.size / self.steps,
            "micro_f1": 2 * hits / decided if decided else 0.0,
        }


def _seeded(
    params: Train, epoch: int, rows: Rows, rank: int
) -> tuple[Rows, np.ndarray, torch.Generator]:
    """``rows`` as an epoch shows them, their order, int (rows,), and the augmentation's generator.

    All are the same on all devices. Dropout, which differs from device to device, draws from
    torch's global generator, which is seeded here.
    """
    seeds = np.random.SeedSequence([params.seed, epoch]).generate_state(4)
    shuffling, dropout, augmentation, views = map(int, seeds)
    torch.manual_seed(dropout + rank)
    order = epoch_order(len(rows), params.batch_size, params.shuffle, shuffling)
    return rows.draw_views(views), order, torch.Generator().manual_seed(augmentation)
