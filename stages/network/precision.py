"""The number format of forward and backward passes: single, or mixed with half (AMP)."""

from collections.abc import Callable

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def precision_for(device: torch.device, wish: str) -> str:
    """The number format to compute in: ``wish``, or for ``auto`` what suits the device."""
    if wish != "auto":
        return wish
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def autocast(device: torch.device, precision: str) -> Callable[[], torch.autocast]:
    """Makes the context of a forward pass, a new one each time; for ``fp32`` it has no effect."""

    def context() -> torch.autocast:
        return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")

    return context
