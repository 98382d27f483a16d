"""Which labels are doubted, where it is known which of them were turned round."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from stages.files import write_csv
from stages.ingest import corrections, records
from stages.report.label_quality import (
    IN_DOUBT,
    Judged,
    doubts_of,
    in_doubt,
    to_work_through,
)

NAMES = ["cat", "dog", "owl"]


def judged(given: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None) -> Judged:
    rows = pl.int_range(len(given), dtype=pl.Int32, eager=True)
    ids = pl.format("{}.jpg", rows).alias("id")
    captions = pl.format('"{}",\nit says', rows).alias("caption")
    photos = pl.select(ids, rows.alias("image"), captions)
    known = np.ones_like(given) if known is None else known
    return Judged(photos, given, known, probabilities, NAMES)


def turned(seed: int, rows: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, which twentieth of them is wrong, and what a network says of the photos."""
    random = np.random.default_rng(seed)
    right = random.random((rows, 3)) < [0.5, 0.2, 0.05]
    wrong = random.random(right.shape) < 0.05
    scores = expit(np.where(right, 3.0, -3.0) + random.normal(0, noise, right.shape))
    return right ^ wrong, wrong, scores.astype(np.float32)


@pytest.mark.parametrize(("noise", "precision", "recall"), [(1.0, 0.98, 0.75), (2.0, 0.5, 0.75)])
def test_labels_that_were_turned_round_are_found(noise: float, precision: float, recall: float):
    given, wrong, probabilities = turned(7, 2000, noise)
    doubts = in_doubt(judged(given, probabilities))
    labels = doubts["label"].cast(pl.Enum(NAMES)).to_physical()
    cells = doubts["image"].to_numpy(), labels.to_numpy()
    right = wrong[cells]
    assert right.mean() >= precision
    assert right.sum() / wrong.sum() >= recall
    assert right[:50].mean() >= 0.98  # the worst first
    assert (doubts["given"].to_numpy() == given[cells]).all()
    assert (doubts["probability"].to_numpy() == probabilities[cells]).all()


def test_the_columns_of_each_doubt():
    given, _, probabilities = turned(7, 300, 1.0)
    doubts = in_doubt(judged(given, probabilities))
    assert doubts.schema == IN_DOUBT
    assert doubts["score"].is_sorted()
    assert doubts.select("id", "label").is_unique().all()
    for row in doubts.iter_rows(named=True):
        doubted = set(doubts.filter(id=row["id"])["label"])
        assert row["id"] == f"{row['image']}.jpg"
        assert row["labels"] == list(np.array(NAMES)[given[row["image"]]])
        assert set(row["suggested"]) == set(row["labels"]) ^ doubted
        assert row["given"] == (row["label"] in row["labels"])


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_labels_that_all_photos_carry_or_none_are_not_judged(rows: int):
    given = np.zeros((rows, 3), bool)
    given[:, 1] = True
    probabilities = np.full((rows, 3), 0.5, np.float32)
    doubts = in_doubt(judged(given, probabilities))
    assert doubts.schema == IN_DOUBT
    assert doubts.is_empty()
    assert to_work_through(doubts).columns[:2] == ["id", "labels"]


def test_a_network_that_is_always_right_doubts_nothing():
    given = np.random.default_rng(0).random((50, 3)) < 0.5
    assert in_doubt(judged(given, given.astype(np.float32))).is_empty()


def test_the_list_to_work_through_is_a_file_of_corrections(tmp_path: Path):
    given, wrong, probabilities = turned(7, 500, 1.0)
    doubts = in_doubt(judged(given, probabilities))
    listed = to_work_through(doubts)
    assert listed.columns == ["id", "labels", "given", "in_doubt", "score", "image", "caption"]
    assert listed["id"].to_list() == doubts["id"].unique(maintain_order=True).to_list()
    write_csv(tmp_path / "corrections.csv", listed.columns, listed.iter_rows())

    read = corrections.read(tmp_path)
    assert read.rejected == []
    suggested = dict(doubts.select("id", "suggested").iter_rows())
    assert {id: labels for id, (*_, labels) in read.by_id.items()} == {
        id: (tuple(sorted(labels)), ()) for id, labels in suggested.items()
    }
    # With them more labels are right than before.
    matrix = given.copy()
    rows = listed["image"].to_numpy()
    lists = pl.Series([suggested[id] for id in listed["id"]], dtype=pl.List(pl.String))
    matrix[rows] = records.label_matrix(lists, NAMES)
    assert (matrix != (given ^ wrong)).sum() < wrong.sum() / 3


def test_doubts_are_put_in_words():
    doubts = pl.DataFrame(
        [
            ("a.jpg", 3, "a cat", "cat", False, 0.9871, 0.0129, ["owl"], ["cat"], ["dog"]),
            ("a.jpg", 3, "a cat", "owl", True, 0.2, 0.2, ["owl"], ["cat"], ["dog"]),
            ("b.jpg", 1, None, "owl", True, 0.25, 0.25, ["owl"], [], []),
        ],
        IN_DOUBT,
        orient="row",
    )
    listed = to_work_through(doubts)
    assert listed.rows() == [
        ("a.jpg", "cat", "owl", "also cat (0.9871), not owl (0.2)", 0.0129, 3, "a cat", "dog"),
        ("b.jpg", "", "owl", "not owl (0.25)", 0.25, 1, None, ""),
    ]
    assert listed.columns[-1] == "unknown"
    assert to_work_through(doubts[-1:]).rows() == [listed.row(1)[:-1]]


def test_what_nobody_knows_is_not_doubted_and_bends_no_confidence():
    given, _, probabilities = turned(7, 900, 1.0)
    known = np.random.default_rng(1).random(given.shape) < 0.5
    known[:, 2] = False
    probabilities = np.where(known, probabilities, 0.999).astype(np.float32)
    expected = [
        set(np.flatnonzero(rows)[doubts_of(given[rows, label], probabilities[rows, label])])
        for label, rows in enumerate(known.T[:2])
    ]
    assert all(expected)
    for of_unknown in (False, True):
        doubts = in_doubt(judged(np.where(known, given, of_unknown), probabilities, known))
        by_name = {name: set(doubts.filter(label=name)["image"]) for name in NAMES}
        assert by_name == dict(zip(NAMES, (*expected, set()), strict=True))
    first = doubts.row(0, named=True)
    assert first["unknown"] == list(np.array(NAMES)[~known[first["image"]]])
    assert {"owl"} <= set(first["unknown"])
