"""The stage as it runs, after a real train and threshold."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from stages import UserError
from stages.ingest import records
from stages.report.__main__ import PAGES, WORDS, main
from stages.threshold.__main__ import main as threshold
from stages.train import probabilities
from stages.train.__main__ import main as train

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def said() -> dict:
    return json.loads(Path("metrics/report.json").read_text())


def written() -> set[str]:
    return {page.stem for page in PAGES.iterdir()}


@pytest.fixture
def trained(prepared: Path, params) -> Callable[..., None]:
    """A function that goes as far as threshold."""

    def run(changes: dict | None = None) -> None:
        params({"report.photos": 2, "train.epochs": 1} | (changes or {}))
        train()
        threshold()

    return run


def test_pages_of_labels_and_of_feature_maps(trained, params):
    trained({"report.labels": 4, "report.captions": 20})
    main()
    table = probabilities.read()
    carried = records.label_matrix(table["labels"], [*map(str, range(10))]).sum(axis=0)
    shown = sorted(range(10), key=lambda label: -carried[label])[:4]
    found = said()
    assert written() - {"feature_maps"} == {str(label) for label in shown}
    for page in PAGES.iterdir():
        with Image.open(page) as image:
            assert image.width > 500 and image.height > 200, page
    assert (found["labels"], found["labels_left_out"], found["captions"]) == (4, 6, 20)
    assert 4 <= found["photos"] == found["heat_maps"] <= 4 * 4 * 2
    assert found["heat_maps_left_out"] == 0
    assert pl.read_csv(WORDS).columns == ["label", "word", "captions", "effect"]
    before = {page.name: page.read_bytes() for page in PAGES.iterdir()} | {"": WORDS.read_bytes()}
    main()
    after = {page.name: page.read_bytes() for page in PAGES.iterdir()} | {"": WORDS.read_bytes()}
    assert before == after


def test_the_words_of_digits_speak_for_them(trained):
    trained({"train.inputs": "caption", "train.epochs": 40, "train.text.hidden": 32})
    main()
    words = pl.read_csv(WORDS, schema_overrides={"label": pl.String})
    first = dict(words.unique("label", keep="first").select("label", "word").iter_rows())
    of_themselves = [first.get(str(digit)) == word for digit, word in enumerate(DIGITS)]
    assert sum(of_themselves) >= 5, first  # those that occur often enough; by chance one in ten
    assert "heat_maps" not in said()
    assert "feature_maps" not in written()


def test_without_captions_and_with_odd_label_names(trained):
    odd = {str(digit): f"no. {digit} / {word}" for digit, word in enumerate(DIGITS)}
    odd["0"], odd["1"] = "feature_maps", "a/b"
    renamed = pl.col("labels").list.eval(pl.element().replace_strict(odd))
    everything = records.read().with_columns(renamed, caption=pl.lit(None, pl.String))
    records.write(everything, list(odd.values()))
    trained({"train.inputs": "image", "report.labels": None})
    main()
    assert {"feature_maps-2", "a-b", "no.-2-two", "feature_maps"} <= written()
    assert WORDS.read_text() == "label,word,captions,effect\n"
    assert said()["labels"] == len(written()) - 1
    assert "captions" not in said()


def test_a_backbone_without_maps_is_said_to_have_none(trained, capsys):
    # Most of SqueezeNet works on what is left of 32 pixels: one.
    trained({"train.backbone": "squeezenet1_1", "train.epochs": 0})
    capsys.readouterr()
    main()
    assert "report: squeezenet1_1 keeps no maps of photos of 32 pixels" in capsys.readouterr().out
    assert said()["heat_maps"] == 0
    assert said()["heat_maps_left_out"] == said()["photos"] > 0
    assert "feature_maps" not in written()


def test_without_a_validation_photo_it_says_so(trained):
    trained()
    empty = probabilities.read().clear()
    probabilities.write(empty, probabilities.read_label_names())
    with pytest.raises(UserError, match=r"data/validation.parquet has no row"):
        main()
    assert not PAGES.exists()
