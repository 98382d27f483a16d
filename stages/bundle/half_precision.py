"""The network's weights as they are kept: single precision, or half."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save


def write(source: Path, target: Path, precision: str) -> None:
    """Copies a safetensors file of float32 weights.

    Args:
        precision: ``float32`` or ``float16``. A tensor with a number beyond ±65,504, the largest
            that half precision has, stays in single precision.
    """
    weights = load_file(source)
    if precision == "float16":
        weights = {name: _halved(tensor) for name, tensor in weights.items()}
    target.write_bytes(save(weights))


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    half = tensor.half() if tensor.dtype == torch.float32 else tensor
    return half if half.isfinite().all() else tensor
