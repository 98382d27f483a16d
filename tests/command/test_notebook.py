"""A bundle in a notebook: what ``tagloom.load`` gives, and the notebook in docs."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tagloom
from stages import UserError
from stages.bundle.model import load_model
from stages.ingest.decoder import decode
from tests.conftest import ROOT


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_table_of_photos_in_their_order(bundle: Path, album: Path, runtime: str):
    names = ["photos/test-00001.png", "nowhere.png", "photos/test-00000.png"]
    model = tagloom.load(bundle, runtime)
    table = model.predict([*names, names[0]], ["three", "", None, "three"], batch_size=2)
    assert table["photo"].to_list() == [*names, names[0]]
    assert table["error"].is_null().to_list() == [True, False, True, True]
    assert "missing" in table["error"][1]
    assert table.row(1)[3:] == (None,) * 10
    assert table["labels"][1] is None
    assert table.row(0)[:3] == table.row(3)[:3]

    asked = load_model(bundle)
    pixels = decode(Path(names[0]).read_bytes(), *asked.bundle.form).pixels
    [expected] = asked.probabilities(pixels[None], ["three"])
    assert table.columns[3:] == [f"probability of {label}" for label in model.labels]
    assert np.allclose(table.row(0)[3:], expected, atol=1e-4)
    held = asked.decide(expected[None])[0]
    assert table["labels"][0].to_list() == list(np.array(model.labels)[held])


def test_no_photo_is_an_empty_table(bundle: Path):
    assert tagloom.load(bundle).predict([]).shape == (0, 13)


def test_captions_are_as_many_as_photos(bundle: Path, album: Path):
    with pytest.raises(ValueError, match="shorter"):
        tagloom.load(bundle).predict(["photos/test-00000.png"], [])


def test_a_picture_of_why(bundle: Path, album: Path):
    model = tagloom.load(bundle)
    picture = model.explain("photos/test-00000.png", "one and two", labels=["1"])
    colours = np.asarray(picture.convert("HSV"))[:, picture.width // 2 :, 1]
    assert (colours > 128).mean() > 0.01  # something is warm
    with pytest.raises(UserError, match="12"):
        model.explain("photos/test-00000.png", labels=["12"])


def test_the_notebook_runs(bundle: Path, album: Path):
    """``docs/notebook.ipynb``, in a folder with a bundle and photos."""
    Path("models").mkdir()
    Path("models/bundle").symlink_to(bundle)
    notebook = json.loads((ROOT / "docs" / "notebook.ipynb").read_text("utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    table = names["table"]
    assert isinstance(table, pl.DataFrame)
    assert len(table) == len(list(Path("photos").glob("*.png")))
