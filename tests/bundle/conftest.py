"""Tests of a bundle export several networks as ONNX."""

from collections.abc import Iterator
from functools import cache

import pytest
from torch.onnx._internal.exporter._registration import ONNXRegistry


@pytest.fixture(scope="session", autouse=True)
def _one_registry() -> Iterator[None]:
    """Torch reads its library of operators anew for each export, a quarter of its time."""
    with pytest.MonkeyPatch.context() as patch:
        read = staticmethod(cache(ONNXRegistry.from_torchlib))
        patch.setattr(ONNXRegistry, "from_torchlib", read)
        yield
