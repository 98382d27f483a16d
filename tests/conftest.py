"""What tests of every room share: real photos where there are any, small repositories."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what this machine cannot run, and says what is missing."""
    import torch

    for item in items:
        if item.get_closest_marker("shared") and not os.environ.get("TAGLOOM_SHARED"):
            item.add_marker(pytest.mark.skip(reason="TAGLOOM_SHARED names no folder of photos"))
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture
def shared() -> Path:
    """The folder of real photos and weights (with the marker ``shared``)."""
    return Path(os.environ["TAGLOOM_SHARED"])


@pytest.fixture
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, with the cache folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAGLOOM_CACHE", raising=False)
    return tmp_path
