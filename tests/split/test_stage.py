"""The stage as it runs: records in, folds and figures out."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import UserError
from stages.ingest import records
from stages.split import folds
from stages.split.__main__ import main
from tests.conftest import write_params

NAMES = ["cat", "dog", "tree"]


def write_records(labels: list[list[str] | None], **columns: list) -> pl.DataFrame:
    """Records of subset train, photos all different, then one of subset test."""
    count = len(labels) + 1
    table = {
        "id": [f"{number}.jpg" for number in range(count)],
        "subset": ["train"] * (count - 1) + ["test"],
        "labels": [*labels, None],
        "caption": [None] * count,
        "width": [64] * count,
        "height": [64] * count,
        "sha256": [f"{number:064x}" for number in range(count)],
        "dhash": list(range(count)),
        "image": list(range(count)),
        "delivery": [0] * count,
    }
    made = pl.DataFrame(table | columns, schema=records.SCHEMA)
    records.write(made, NAMES)
    return made


def split(**changes: object) -> pl.DataFrame:
    """Runs the stage with ``split`` parameters changed, and reads the folds."""
    write_params({f"split.{name}": value for name, value in changes.items()})
    main()
    return folds.read()


def figures() -> dict:
    return json.loads(Path("metrics/split.json").read_text("utf-8"))


def some_labels(count: int) -> list[list[str]]:
    drawn = np.random.default_rng(0).random((count, 3)) < [0.5, 0.3, 0.1]
    return [[name for name, has in zip(NAMES, row, strict=True) if has] for row in drawn]


def test_every_labelled_photo_of_train_plays_one_part(in_tmp):
    made = write_records([*some_labels(100), None, None])
    parts = split(validation=0.2)
    assert parts.schema == folds.SCHEMA
    assert parts["id"].to_list() == made["id"].to_list()[:100]
    assert parts["part"].to_list() == ["train" if fold else "validation" for fold in parts["fold"]]
    assert figures()["photos"] == {"train": 80, "validation": 20}


def test_figures(in_tmp):
    hashes = [0, 0, 0, *range(3, 101)]
    hashes[50] = hashes[100]  # the test photo's
    write_records(some_labels(100), dhash=hashes)
    split()
    metrics = figures()
    assert metrics["kept_together"] == {"groups": 1, "photos": 3, "largest": 3}
    assert metrics["photos_that_test_has_too"] == 1
    without = metrics["photos_without_labels"]
    assert without["train"] + without["validation"] == some_labels(100).count([])
    assert without["validation"] > 0
    assert list(metrics["relative_gap"]) == NAMES
    assert metrics["largest_relative_gap"] == max(metrics["relative_gap"].values())
    assert (
        metrics["largest_relative_gap_smallest_possible"]
        <= metrics["largest_relative_gap"]
        < metrics["largest_relative_gap_random"]
    )


def test_the_same_photo_is_on_one_side(in_tmp):
    # 0 and 1 are the same file; 1 and 2, 2 and 3 look alike; 4 is like none of them.
    shas = ["a", "a", "b", "b", "c", *map(str, range(36))]
    looks = [10, 11, 11, 12, 13, *range(100, 136)]
    write_records(some_labels(40), sha256=shas, dhash=looks)
    for seed in range(10):
        parts = split(validation=0.5, seed=seed)["part"]
        assert parts[:4].n_unique() == 1
    assert figures()["kept_together"] == {"groups": 1, "photos": 4, "largest": 4}


def test_photos_too_plain_for_a_hash_are_not_taken_for_one_another(in_tmp):
    write_records(some_labels(40), dhash=[None] * 41)
    split()
    assert figures()["kept_together"]["groups"] == 0
    assert figures()["photos_that_test_has_too"] == 0


def test_cross_validation(in_tmp):
    write_records(some_labels(103))
    first = split(validation=None, folds=4, fold=0)
    assert sorted(first["fold"].value_counts()["count"]) == [25, 26, 26, 26]
    third = split(validation=None, folds=4, fold=2)
    assert (first["fold"] == third["fold"]).all()
    assert third.filter(fold=2)["part"].unique().to_list() == ["validation"]
    assert third.filter(part="train")["fold"].unique().sort().to_list() == [0, 1, 3]


def test_rows_of_keeps_the_order_of_the_records(in_tmp):
    made = write_records(some_labels(60))
    parts = split()
    rows = folds.rows_of(made, parts.sample(fraction=1, shuffle=True, seed=1), "validation")
    assert rows["id"].to_list() == parts.filter(part="validation")["id"].to_list()
    assert rows.columns == made.columns
    assert len(rows) + len(folds.rows_of(made, parts, "train")) == len(parts)


def test_the_same_bytes_for_a_seed(in_tmp):
    write_records(some_labels(100))
    split(seed=1)
    first = folds.FOLDS.read_bytes(), figures()
    shutil.rmtree("metrics")
    split(seed=1)
    assert (folds.FOLDS.read_bytes(), figures()) == first
    split(seed=2)
    assert folds.FOLDS.read_bytes() != first[0]


@pytest.mark.parametrize(
    ("labels", "looks", "changes", "sentence"),
    [
        ([None, None], [0, 1], {}, "no photo of subset train with known labels"),
        ([["cat"]], [0], {}, "1 photos with known labels cannot be split into 2"),
        ([["cat"]] * 3, [0, 1, 2], {"validation": None, "folds": 4}, "lower split.folds"),
        ([["cat"]] * 3, [5, 5, 5], {}, "only 1 different"),
    ],
)
def test_what_cannot_be_split_is_said_in_a_sentence(in_tmp, labels, looks, changes, sentence):
    write_records(labels, dhash=[*looks, 99])
    with pytest.raises(UserError, match=sentence):
        split(**changes)
    assert not folds.FOLDS.exists()


def test_photos_without_any_label(in_tmp):
    records.write(write_records([[], []]), [])
    with pytest.raises(UserError, match="carries a label"):
        split()


def test_as_few_photos_as_parts(in_tmp):
    write_records([["cat"], []])
    assert sorted(split(validation=0.01)["part"]) == ["train", "validation"]


def delivered(*counts: int) -> list[int]:
    """The deliveries of so many photos each, and that of the test photo."""
    return [*np.repeat(range(len(counts)), counts).tolist(), 0]


@pytest.mark.parametrize("changes", [{}, {"folds": 4, "validation": None}])
def test_photos_keep_their_part_when_more_arrive(in_tmp, changes: dict):
    labels = some_labels(200)
    write_records(labels[:120], delivery=delivered(120))
    first = split(**changes)
    write_records(labels[:150], delivery=delivered(120, 30))
    second = split(**changes)
    write_records(labels, delivery=delivered(120, 30, 50))
    third = split(**changes)
    assert second[:120].equals(first)
    assert third[:150].equals(second)
    # Rates are those of all photos, as near as without deliveries.
    apart = figures()["largest_relative_gap"]
    write_records(labels)
    assert len(split(**changes)) == 200
    assert apart < 1.5 * figures()["largest_relative_gap"] + 0.05
    wanted = [40, 160] if not changes else [50] * 4
    assert np.bincount(third["fold"]).tolist() == wanted


def test_a_photo_that_came_before_takes_its_like_to_its_part(in_tmp):
    hashes = [*range(100), *range(40), 1000]  # the second delivery repeats photos of the first
    write_records(some_labels(140), dhash=hashes, delivery=delivered(100, 40))
    fold = split()["fold"].to_list()
    assert fold[100:] == fold[:40]


def test_a_delivery_of_one_photo(in_tmp):
    write_records(some_labels(41), delivery=delivered(1, 39, 1))
    split()
    assert figures()["photos"] == {"train": 33, "validation": 8}
