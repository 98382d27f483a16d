"""Optimiser, learning rate and number format, as ``params.yaml`` names them."""

from collections.abc import Callable

import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from stages.params import Schedule, Train

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


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


def precision_for(device: torch.device, wish: str) -> str:
    """The number format to compute in: ``wish``, or for ``auto`` what suits the device."""
    if wish != "auto":
        return wish
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device, precision: str) -> Callable[[], torch.autocast]:
    """A context for forward passes, made anew for each; without effect for ``fp32``."""

    def context() -> torch.autocast:
        return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")

    return context
