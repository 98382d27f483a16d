"""Loss, optimiser and learning rate, as ``params.yaml`` names them."""

from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from stages.params import Schedule, Train
from stages.train.losses import loss_function
from stages.train.precision import autocast, precision_for


def optimizer(network: nn.Module, params: Train) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW over what is not frozen."""
    learning = [weight for weight in network.parameters() if weight.requires_grad]
    common = {"lr": params.lr, "weight_decay": params.weight_decay}
    if params.optimizer == "sgd":
        return torch.optim.SGD(learning, momentum=params.momentum, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[params.optimizer](
        learning, **common
    )


class LearningRate:
    """The schedule: ``after_step`` and ``after_epoch`` move the optimiser's learning rate.

    ``one-cycle`` rises to ``lr`` for the first ``warmup`` of all steps and falls to nearly zero
    along cosines (Smith 2018). ``plateau`` multiplies the rate by ``factor`` after ``patience``
    epochs whose validation metric was no better.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, params: Schedule, lr: float, steps: int
    ) -> None:
        self._by_step = self._by_epoch = None
        if params.name == "one-cycle":
            # A cycle is up and down: with fewer than three steps there is none.
            warmup = max(params.warmup, 2 / steps)
            if warmup < 1:
                self._by_step = OneCycleLR(
                    optimizer, lr, total_steps=steps, pct_start=warmup, cycle_momentum=False
                )
        elif params.name == "plateau":
            self._by_epoch = ReduceLROnPlateau(
                optimizer,
                mode="max",
                factor=params.factor,
                patience=params.patience - 1,  # torch counts the epochs it lets pass
            )

    def after_step(self) -> None:
        if self._by_step is not None:
            self._by_step.step()

    def after_epoch(self, metric: float) -> None:
        if self._by_epoch is not None:
            self._by_epoch.step(metric)

    def state_dict(self) -> dict:
        schedule = self._by_step or self._by_epoch
        return schedule.state_dict() if schedule else {}

    def load_state_dict(self, state: dict) -> None:
        schedule = self._by_step or self._by_epoch
        if schedule:
            schedule.load_state_dict(state)


class Stepper:
    """From a loss to a step: what ``params`` say of it, with the state that a restart needs.

    Args:
        network: on its device.
        steps: of the whole run.
    """

    def __init__(self, network: nn.Module, params: Train, steps: int) -> None:
        device = next(network.parameters()).device
        self.params = params
        self.precision = precision_for(device, params.precision)
        self.autocast = autocast(device, self.precision)
        self.loss_of = loss_function(params.loss)
        self.optimizer = optimizer(network, params)
        self.rate = LearningRate(self.optimizer, params.schedule, params.lr, steps)
        # Without it, fp16 gradients below 6e-8 become zero.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")

    def step(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.rate.after_step()

    def state_dict(self) -> dict[str, Any]:
        parts = {"optimizer": self.optimizer, "rate": self.rate, "scaler": self.scaler}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.rate.load_state_dict(state["rate"])
        self.scaler.load_state_dict(state["scaler"])
