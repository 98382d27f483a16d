"""Small real photos, and the stage run on them in an empty folder."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from stages.ingest.__main__ import main

PARAMS = Path(__file__).parents[2] / "params.yaml"
CORRECTIONS = Path("data/corrections")


def photo_of(seed: int = 0, size: tuple[int, int] = (24, 16), format: str = "JPEG") -> bytes:
    """The bytes of a photo; ``seed`` says which."""
    colours = np.random.default_rng(seed).integers(0, 256, (2, 3, 3), np.uint8)
    image = Image.fromarray(colours).resize(size)
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


@pytest.fixture
def photo() -> Callable[..., bytes]:
    return photo_of


@pytest.fixture
def write_params(in_tmp: Path) -> Callable[..., None]:
    """Writes ``params.yaml``: the project's own, at 16 pixels, with these keys of ``ingest``."""

    def write(source: str, options: dict[str, Any] | None = None, **keys: Any) -> None:
        params = YAML(typ="safe").load(PARAMS)
        params["ingest"] |= {"source": source, "root": "raw", "image_size": 16} | keys
        params["ingest"].setdefault(source, {}).update(options or {})
        YAML(typ="safe").dump(params, Path("params.yaml"))
        CORRECTIONS.mkdir(parents=True, exist_ok=True)

    return write


@pytest.fixture
def ingest(write_params: Callable[..., None]) -> Callable[..., None]:
    """Runs the stage in the current folder; takes what ``write_params`` takes."""

    def run(source: str, options: dict[str, Any] | None = None, **keys: Any) -> None:
        write_params(source, options, **keys)
        main()

    return run
