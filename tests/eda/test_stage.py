"""The stage as DVC runs it, on small records."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.eda import tables
from stages.eda.__main__ import main
from stages.eda.overview import look_over
from stages.eda.params import Vocab
from stages.ingest import records
from stages.ingest.__main__ import main as ingest
from stages.params import read
from stages.vocab import vocabulary
from tests.conftest import write_params

PICTURES = {
    "caption_lengths", "cooccurrence", "examples", "label_sets", "labels", "sizes", "telling_words",
    "top_words",
}  # fmt: skip
CAPTION_PICTURES = {"caption_lengths", "telling_words", "top_words"}


def set_params(**changes: int) -> None:
    write_params({f"eda.{name}": value for name, value in changes.items()})


def write_records(labels: list, captions: list, names: list[str], train: int) -> None:
    """Photos of noise with these labels and captions; those after the first ``train``: test."""
    count = len(labels)
    folder = Path("data/images")
    folder.mkdir(parents=True)
    noise = np.random.default_rng(7).integers(0, 256, (count, 16, 16, 3), np.uint8)
    np.save(folder / "00000.npy", noise)
    table = pl.DataFrame(
        {
            "id": [f"{i}.jpg" for i in range(count)],
            "subset": ["train"] * train + ["test"] * (count - train),
            "labels": labels,
            "caption": captions,
            "width": [30] * count,
            "height": [20] * count,
            "sha256": [f"{i:064x}" for i in range(count)],
            "dhash": [0] * count,
            "image": list(range(count)),
            "delivery": [0] * count,
        },
        schema=records.SCHEMA,
    )
    records.write(table, names)


def run() -> dict:
    main()
    return json.loads(Path("metrics/eda.json").read_text())


def rows(name: str) -> list[dict[str, str]]:
    with Path(f"metrics/eda/{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pictures() -> set[str]:
    return {file.stem for file in Path("data/eda").iterdir()}


@pytest.fixture
def digits(in_tmp):
    """Ten labelled photos of twos and fours, six words a caption, and two test photos."""
    labels = [["2"]] * 6 + [["2", "4"]] * 2 + [["4"], []] + [None, ["4"]]
    captions = ["two by hand"] * 8 + ["four in pencil", "some paper"] + ["a 2nd two", None]
    write_records(labels, captions, ["2", "4"], train=10)
    set_params()


def test_figures_of_a_small_sample(digits):
    metrics = run()
    assert metrics["photos"] == {
        "train": 10, "test": 2, "labelled": 10, "without_any_label": 1, "with_one_label": 7,
    }  # fmt: skip
    assert metrics["labels"]["missing_ids"] == [3]
    assert metrics["labels"]["per_photo"] == {"min": 0, "median": 1, "mean": 1.1, "max": 2}
    assert metrics["captions"]["length"]["max"] == 3
    assert (metrics["captions"]["train"], metrics["captions"]["test"]) == (10, 1)
    assert rows("labels")[0] == {
        "label": "2", "photos": "8", "rate": "0.8", "alone": "6", "together": "2", "ratio": "0.25",
    }  # fmt: skip
    assert {"label": "4", "other": "2", "photos": "2", "share": "0.666667"} in rows("cooccurrence")
    assert {"set": "no label", "photos": "1"} in rows("label_sets")
    assert [(row["label"], row["word"]) for row in rows("telling_words")] == [
        ("2", "hand"),
        ("2", "two"),
    ]
    assert pictures() == PICTURES


def test_same_input_same_bytes(digits):
    def written():
        files = [*Path("data/eda").iterdir(), *Path("metrics").rglob("*.*")]
        return {file: file.read_bytes() for file in files}

    run()
    first = written()
    run()
    assert written() == first
    assert len(first) == len(PICTURES) + 8 + 1


def test_both_parameters_have_an_effect(digits):
    run()
    words, sheet = len(rows("top_words")), Path("data/eda/examples.png").read_bytes()
    set_params(top_words=1, examples=1)
    run()
    assert len(rows("top_words")) == 2 < words
    assert Path("data/eda/examples.png").read_bytes() != sheet


def test_words_are_those_of_the_vocabulary_in_languages_without_blanks(in_tmp):
    pytest.importorskip("icu4py")
    captions = ["一个女人骑马", "女人与马", "狗", "ผู้หญิงขี่ม้า"]
    write_records([["a"]] * 4, captions, ["a"], train=4)
    write_params({"vocab.segmentation": "unicode"})
    overview = look_over(records.read(), ["a"], 9, read(Vocab).segmentation)
    options = {"normalize": "none", "drop_stop_words": True, "min_count": 1, "max_words": 99}
    known = vocabulary.build(captions, **options, max_length=9, segmentation="unicode")
    assert tables.measure(overview)["captions"]["words"] == len(known.words)
    counted = dict(overview.top_words.select("word", "captions").iter_rows())
    assert (counted["女人"], counted["狗"], counted["ขี่"]) == (2, 1, 1)


def test_of_how_many_photos_labels_are_known(digits):
    run()
    known, picture = rows("labels"), Path("data/eda/labels.png").read_bytes()
    assert "known" not in known[0]
    # Of one photo of a two, and of the one without any label, nobody knows whether it has a four.
    unknown = [["4"], *[None] * 8, ["4"], None, None]
    table = records.read().with_columns(unknown=pl.Series(unknown, dtype=pl.List(pl.String)))
    records.write(table, ["2", "4"])
    metrics = run()
    assert [(row["label"], row["rate"], row["known"]) for row in rows("labels")] == [
        ("2", "0.8", "10"),
        ("4", "0.375", "8"),
    ]
    assert {"label": "2", "other": "4", "photos": "2", "share": "0.285714"} in rows("cooccurrence")
    assert (metrics["photos"]["with_unknown_labels"], metrics["photos"]["without_any_label"]) == (
        2,
        0,
    )
    assert metrics["labels"]["known"] == {"min": 8, "median": 9, "mean": 9, "max": 10}
    assert Path("data/eda/labels.png").read_bytes() != picture


def test_labels_of_test_photos_are_not_looked_at(in_tmp):
    write_records([["a"], ["b"]], [None, None], ["a", "b"], train=1)
    set_params()
    metrics = run()
    assert metrics["photos"]["labelled"] == 1
    assert metrics["labels"]["never_used"] == 1


def test_without_captions_there_are_no_pictures_of_words(in_tmp):
    write_records([["a"], ["a"], None], [None] * 3, ["a"], train=2)
    set_params()
    metrics = run()
    assert metrics["captions"] == {"train": 0, "test": 0, "distinct": 0, "length": {}, "words": 0}
    assert pictures() == PICTURES - CAPTION_PICTURES
    assert Path("metrics/eda/top_words.csv").read_text() == "label,word,captions,share,pmi,npmi\n"


@pytest.mark.parametrize(("labels", "names"), [([None, None], ["a"]), ([[], []], [])])
def test_without_labels_there_are_sizes_and_captions(in_tmp, labels, names):
    write_records(labels, ["", "a bus"], names, train=2)
    set_params()
    assert run()["labels"]["names"] == len(names)
    assert pictures() == {"sizes", "caption_lengths"}


def test_without_photos_of_one_label_there_is_no_sheet_of_examples(in_tmp):
    write_records([["a", "b"], []], [None, None], ["a", "b"], train=2)
    set_params()
    assert run()["photos"]["with_one_label"] == 0
    assert pictures() == PICTURES - CAPTION_PICTURES - {"examples"}


def test_tables_of_many_labels_stay_small(in_tmp):
    names = [f"label {i}" for i in range(130)]
    write_records([[name] for name in names] + [names], [None] * 131, names, train=131)
    made = tables.tables(look_over(records.read(), names, top_words=5))
    assert len(made["labels"]) == 130
    assert made["cooccurrence"]["label"].n_unique() == tables.MOST_LABELS
    assert len(made["label_sets"]) == tables.MOST_ROWS


@pytest.mark.shared
def test_the_real_sample(in_tmp, shared):
    """A quarter of it: photos take long to decode."""
    for folder in ("data/corrections", "raw/data"):
        Path(folder).mkdir(parents=True)
    with (shared / "coco18" / "train.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.reader(file))[:2501]
    with Path("raw/train.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(listed)
    for name, *_ in listed[1:]:
        shutil.copy(shared / "coco18" / "data" / name, "raw/data")
    options = {"source": "kaggle-csv", "root": "raw", "kaggle-csv.test": None, "image_size": 8}
    write_params({f"ingest.{name}": value for name, value in options.items()})
    ingest()
    metrics = run()
    assert metrics["labels"]["names"] == 18
    assert metrics["labels"]["missing_ids"] == [12]
    ratios = {row["label"]: float(row["ratio"]) for row in rows("labels")}
    sets = [row[1].split() for row in listed[1:]]
    assert ratios == {
        label: pytest.approx(np.mean([len(each) - 1 for each in sets if label in each]), abs=1e-3)
        for label in set().union(*sets)
    }
    first = {row["label"]: row["word"] for row in reversed(rows("telling_words"))}
    assert (first["17"], first["14"]) == ("cat", "meter")
