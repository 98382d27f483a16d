"""The training loop: read it from top to bottom."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from stages import UserError, metrics
from stages.params import Train
from stages.progress import Progress
from stages.train.augment import augment
from stages.train.batches import Batch, Rows
from stages.train.checkpoint import Checkpoint
from stages.train.losses import loss_function
from stages.train.nets.classifier import Classifier
from stages.train.network import Description, logits
from stages.train.recipe import Stepper

STEPS_BETWEEN_FIGURES = 20  # reading a figure from a GPU makes it wait

# What a figure is called in the history and in DVCLive's curves.
Figures = dict[str, float]


@dataclass
class Result:
    """What a run came to.

    Attributes:
        history: the figures of each epoch, in order.
        best_epoch: from 1; the network holds its weights when ``fit`` returns.
        seconds: spent in epochs, those before a restart counted too.
    """

    history: list[Figures]
    best_epoch: int
    seconds: float


def fit(
    network: Classifier,
    description: Description,
    train: Rows,
    validation: Rows,
    params: Train,
    checkpoint: Checkpoint,
    report: Callable[[Figures], None],
) -> Result:
    """Trains ``network``, which is on its device, and leaves it with the best epoch's weights.

    After each epoch the whole state goes to ``checkpoint``; where that holds a state already,
    training goes on from it. ``report`` gets each epoch's figures, those before a restart first.

    Every epoch seeds its own order, augmentation and dropout, so that an epoch does not care
    whether it was reached in one go.

    Raises:
        UserError: ``train.max_hours`` is over, or the loss is no longer a number.
    """
    device = next(network.parameters()).device
    # A lone last row is left out, another one each epoch: batch norm cannot learn from one row.
    rows = len(train) - (len(train) > 1 and len(train) % params.batch_size == 1)
    steps = -(-rows // params.batch_size) * params.epochs
    stepper = Stepper(network, params, steps)
    history: list[Figures] = []
    best: dict[str, Any] = {"metric": -1.0, "epoch": 0, "network": {}}
    seconds = 0.0
    if (state := checkpoint.load()) is not None:
        network.load_state_dict(state["network"])
        stepper.load_state_dict(state["stepper"])
        history, best, seconds = state["history"], state["best"], state["seconds"]
        print(f"train: going on after epoch {len(history)} of {params.epochs}")
        for figures in history:
            report(figures)

    while len(history) < params.epochs and not _gave_up(history, best["epoch"], params):
        epoch = len(history) + 1
        started = time.perf_counter()
        order, chance = _chance(params.seed, epoch, len(train))
        batches = train.batches(params.batch_size, device, order[:rows])
        with Progress(f"epoch {epoch} of {params.epochs}", rows, "photos") as progress:
            deadline = started + params.max_hours * 3600 - seconds
            figures = train_epoch(network, stepper, batches, chance, progress, deadline)
        figures["train/photos_per_second"] = rows / (time.perf_counter() - started)
        figures |= validate(network, description, validation, params, stepper.precision)
        metric = figures[f"validation/{params.metric}"]
        stepper.rate.after_epoch(metric)
        history.append(figures)
        if metric > best["metric"]:
            weights = {name: t.detach().cpu().clone() for name, t in network.state_dict().items()}
            best = {"metric": metric, "epoch": epoch, "network": weights}
        seconds += time.perf_counter() - started
        checkpoint.save(
            {
                "network": network.state_dict(),
                "stepper": stepper.state_dict(),
                "history": history,
                "best": best,
                "seconds": seconds,
            }
        )
        report(figures)

    network.load_state_dict(best["network"])
    return Result(history, best["epoch"], seconds)


def train_epoch(
    network: Classifier,
    stepper: Stepper,
    batches: Iterator[Batch],
    chance: torch.Generator,
    progress: Progress,
    deadline: float,
) -> Figures:
    """One pass over ``batches``; loss and micro-F1 of it, and the learning rate at its end.

    Args:
        chance: of the augmentation.
        deadline: as ``time.perf_counter`` tells it, in seconds.
    """
    params = stepper.params
    network.train()
    seen = _Running(next(network.parameters()).device)
    for stored in batches:
        batch = stored.map_images(partial(augment, params=params.augment, generator=chance))
        with stepper.autocast():
            output = network(batch)
        loss = stepper.loss_of(output.float(), batch.targets)  # outside: fp16 would overflow
        stepper.step(loss)
        seen.add(loss, output, batch.targets)
        if seen.steps % STEPS_BETWEEN_FIGURES == 0:
            progress.show(**{name: f"{figure:.3f}" for name, figure in seen.figures().items()})
        progress.advance(len(batch.targets))
        if time.perf_counter() > deadline:
            raise UserError(
                f"train.max_hours = {params.max_hours:g} is over in {progress.what}; the epochs "
                "before are kept: raise the budget to go on"
            )
    figures = {f"train/{name}": figure for name, figure in seen.figures().items()}
    if not np.isfinite(figures["train/loss"]):
        raise UserError(
            f"the loss is {figures['train/loss']} in {progress.what}; lower train.lr "
            f"({params.lr:g}), or set train.precision to fp32 ({stepper.precision} now)"
        )
    return figures | {"train/lr": stepper.optimizer.param_groups[0]["lr"]}


def validate(
    network: Classifier, description: Description, rows: Rows, params: Train, precision: str
) -> Figures:
    """Loss, F1 at 0.5 and mean average precision on ``rows``, whose labels are known."""
    found = predict(network, description, rows, params.batch_size, precision)
    truth = rows.targets.numpy() > 0.5
    predicted = found >= 0.5
    given = torch.from_numpy(found).clamp(1e-7, 1 - 1e-7)
    return {
        "validation/loss": float(loss_function(params.loss)(given.logit(), rows.targets)),
        "validation/micro_f1": metrics.micro_f1(truth, predicted),
        "validation/macro_f1": metrics.macro_f1(truth, predicted),
        "validation/mean_average_precision": metrics.mean_average_precision(truth, found),
    }


def predict(
    network: Classifier, description: Description, rows: Rows, batch_size: int, precision: str
) -> np.ndarray:
    """Probabilities of ``rows``, in order: float32 (rows, labels)."""
    device = next(network.parameters()).device
    batches = rows.batches(batch_size, device)
    parts = [o.sigmoid().cpu() for _, o in logits(network, description, batches, precision)]
    return torch.cat(parts).numpy()


class _Running:
    """Loss and micro-F1 of the epoch so far, summed on the device without waiting for it."""

    def __init__(self, device: torch.device) -> None:
        self.steps = 0
        self._loss, self._hits, self._decided = torch.zeros(3, device=device)

    def add(self, loss: torch.Tensor, output: torch.Tensor, targets: torch.Tensor) -> None:
        with torch.no_grad():
            predicted = (output > 0).float()
            self.steps += 1
            self._loss += loss
            self._hits += (predicted * targets).sum()
            self._decided += predicted.sum() + targets.sum()

    def figures(self) -> Figures:
        hits, decided = float(self._hits), float(self._decided)
        return {
            "loss": float(self._loss) / self.steps,
            "micro_f1": 2 * hits / decided if decided else 0.0,
        }


def _chance(seed: int, epoch: int, rows: int) -> tuple[np.ndarray, torch.Generator]:
    """An epoch's order and augmentation; dropout draws from torch's own state, seeded here."""
    own, dropout, augmentation = np.random.SeedSequence([seed, epoch]).generate_state(3)
    torch.manual_seed(int(dropout))
    order = np.random.default_rng(own).permutation(rows)
    return order, torch.Generator().manual_seed(int(augmentation))


def _gave_up(history: list[Figures], best_epoch: int, params: Train) -> bool:
    return params.early_stopping > 0 and len(history) - best_epoch >= params.early_stopping
