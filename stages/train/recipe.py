"""Loss, optimiser, learning rate and average of the weights, as ``params.yaml`` names them."""

import copy
from collections.abc import Callable
from math import cos, pi
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from stages.network.nets.classifier import Classifier
from stages.network.nets.fusion import Output
from stages.network.precision import autocast, precision_for
from stages.train.losses import decision_weights, training_loss, unknown_weight
from stages.train.parameter_groups import parameter_groups
from stages.train.params import Schedule, Train


def optimizer(network: Classifier, params: Train) -> torch.optim.Optimizer:
    """The optimiser, fresh, of the network's ``parameter_groups``."""
    optimizers: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
        "sgd": (torch.optim.SGD, {"momentum": params.momentum}),
        "adadelta": (torch.optim.Adadelta, {}),
        "adam": (torch.optim.Adam, {}),
        "amsgrad": (torch.optim.Adam, {"amsgrad": True}),
        "adamw": (torch.optim.AdamW, {}),
        "rmsprop": (torch.optim.RMSprop, {"momentum": params.momentum}),
    }
    kind, options = optimizers[params.optimizer]
    return kind(
        parameter_groups(network, params), lr=params.lr, weight_decay=params.weight_decay, **options
    )


Curve = Callable[[float, float, float], float]  # from, to, done of it in [0, 1]


class Cycle:
    """One rise and one fall of the rate: ``one-cycle`` (Smith 2018) or ``cosine``.

    The rate rises from ``start`` to 1 over the first ``warmup`` of the steps, along a cosine or
    (``cosine``) a line, and falls along a cosine to ``end``, each a fraction of the highest.
    ``one-cycle`` may take the momentum the other way. Fewer than three steps are no cycle: the
    rate stays the highest.
    """

    def __init__(self, params: Schedule, steps: int) -> None:
        self._params, self._last = params, steps - 1
        # As torch's OneCycleLR counts; but neither the first step nor the last is the peak.
        self._peak = min(max(params.warmup * steps - 1, 1), steps - 2)

    def rate(self, step: int) -> float:
        """The rate of a step, the first being 0, as a fraction of the highest rate."""
        bend = _line if self._params.name == "cosine" else _cosine
        return self._at(step, self._params.start, 1.0, self._params.end, bend)

    def momentum(self, step: int, highest: float, lowest: float) -> float:
        """The momentum of a step: ``highest`` at both ends, ``lowest`` at the rate's peak."""
        return self._at(step, highest, lowest, highest, _cosine)

    def _at(self, step: int, first: float, peak: float, last: float, rise: Curve) -> float:
        if self._last < 2:
            return peak
        if step <= self._peak:
            return rise(first, peak, step / self._peak)
        return _cosine(peak, last, min(1, (step - self._peak) / (self._last - self._peak)))


def _line(start: float, end: float, done: float) -> float:
    return start + (end - start) * done


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1 + cos(pi * done)) / 2


class LearningRate:
    """The schedule: ``after_step`` and ``after_epoch`` move the optimiser's learning rates.

    ``one-cycle`` and ``cosine`` go by the step (``Cycle``); each group of weights keeps its
    proportion. ``plateau`` multiplies the rate by ``factor`` after ``patience`` epochs whose
    validation metric was no better.

    Args:
        optimizer: fresh, its rates the highest.
        steps: of the whole run.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, params: Train, steps: int) -> None:
        schedule = params.schedule
        self._optimizer, self._steps = optimizer, 0
        # Highest and lowest; None: the momentum is not cycled.
        lowest = schedule.momentum
        self._momenta = None if lowest is None else (params.momentum, lowest)
        self._highest = [group["lr"] for group in optimizer.param_groups]
        self._cycle = self._plateau = None
        if schedule.name in ("one-cycle", "cosine"):
            self._cycle = Cycle(schedule, steps)
            self._set(self._cycle)
        elif schedule.name == "plateau":
            self._plateau = ReduceLROnPlateau(
                optimizer,
                mode="max",
                factor=schedule.factor,
                patience=schedule.patience - 1,  # torch counts the epochs it lets pass
                threshold=0,  # any rise is better, as for the best epoch
            )

    def after_step(self) -> None:
        if self._cycle is not None:
            self._steps += 1
            self._set(self._cycle)

    def after_epoch(self, metric: float) -> None:
        if self._plateau is not None:
            self._plateau.step(metric)

    def _set(self, cycle: Cycle) -> None:
        for group, highest in zip(self._optimizer.param_groups, self._highest, strict=True):
            group["lr"] = highest * cycle.rate(self._steps)
            if self._momenta is not None:
                momentum = cycle.momentum(self._steps, *self._momenta)
                if "betas" in group:
                    group["betas"] = (momentum, group["betas"][1])
                else:
                    group["momentum"] = momentum

    def state_dict(self) -> dict[str, Any]:
        plateau = self._plateau.state_dict() if self._plateau is not None else {}
        return {"steps": self._steps, "plateau": plateau}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])


class Average:
    """A moving average of a network's weights: a copy that takes a step towards it each step.

    Its step t weighs the past with min(decay, (1 + t) / (10 + t)), so that the random start is
    soon forgotten. Batch norm's running statistics are averaged like the weights: they belong to
    activations that the averaged weights make, not to those of the last ones.
    """

    def __init__(self, network: Classifier, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        for module in self.network.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()  # a copy's weights lie apart, and cuDNN wants one piece
        self._decay, self._steps = decay, 0
        self._averaged, self._learning = _floats(self.network), _floats(network)

    @torch.no_grad()
    def after_step(self) -> None:
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        self._steps += 1
        torch._foreach_lerp_(self._averaged, self._learning, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._steps = state["steps"]
        self.network.load_state_dict(state["network"])


def _floats(network: nn.Module) -> list[torch.Tensor]:
    tensors = [*network.parameters(), *network.buffers()]
    return [tensor for tensor in tensors if tensor.is_floating_point()]


class Optimization:
    """How a network learns: loss, optimiser, learning rate, loss scaling, average of the weights.

    ``backward`` takes the gradients of a batch, or of its pieces one after the other, and ``step``
    makes a step of them; ``state_dict`` holds all states, for a restart.

    Attributes:
        eval_network: the network to validate and to keep: the average where there is one.

    Args:
        network: on its device.
        targets: of the training rows, (rows, labels), for ``train.loss.positive_weight``.
        steps: of the whole run, for the schedule.
        known: bool (rows, labels), which of ``targets`` are known; None: all.
    """

    def __init__(
        self,
        network: Classifier,
        params: Train,
        targets: torch.Tensor,
        steps: int,
        known: torch.Tensor | None = None,
    ) -> None:
        self.device = device = next(network.parameters()).device
        self.params = params
        self.precision = precision_for(device, params.precision)
        self.autocast = autocast(device, self.precision)
        self._unknown_weight = unknown_weight(params.loss, targets.shape[1])
        self.loss_of = training_loss(params.loss, targets, known, device)
        self.optimizer = optimizer(network, params)
        self.rate = LearningRate(self.optimizer, params, steps)
        # Without it, fp16 gradients below 6e-8 become zero.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")
        self.average = Average(network, params.ema) if params.ema else None
        self.eval_network = network if self.average is None else self.average.network

    def backward(
        self,
        output: Output,
        targets: torch.Tensor,
        weight: float = 1.0,
        known: torch.Tensor | None = None,
        known_share: float = 1.0,
    ) -> torch.Tensor:
        """Adds the gradients of the loss of ``output`` to those there are, and returns the loss.

        Args:
            targets: (n, labels), on the device of ``output``.
            weight: of the loss.
            known, known_share: as a ``Batch`` has them.
        """
        decisions = (
            None if known is None else decision_weights(known, known_share, self._unknown_weight)
        )
        # In single precision, outside autocast: fp16 would overflow.
        losses = [
            weight * share * self.loss_of(logits.float(), targets, decisions)
            for share, logits in output.weighted_logits
        ]
        loss = torch.stack(losses).sum()
        self.scaler.scale(loss).backward()
        return loss.detach()

    def step(self) -> None:
        """Makes a step down the gradients there are, and leaves none."""
        if self.params.clip:
            self.scaler.unscale_(self.optimizer)
            weights = [w for group in self.optimizer.param_groups for w in group["params"]]
            nn.utils.clip_grad_norm_(weights, self.params.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.rate.after_step()
        if self.average is not None:
            self.average.after_step()

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"optimizer": self.optimizer, "rate": self.rate, "scaler": self.scaler}
        return parts | ({"average": self.average} if self.average is not None else {})
