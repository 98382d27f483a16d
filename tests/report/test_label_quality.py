"""Which labels are doubted, where it is known which of them were turned round."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from stages.files import write_csv
from stages.ingest import corrections, records
from stages.report.label_errors import is_known
from stages.report.label_quality import (
    IN_DOUBT,
    Judged,
    doubts_of,
    expected,
    in_doubt,
    left_out,
    to_work_through,
)

NAMES = ["cat", "dog", "owl"]


def judged(
    given: np.ndarray, probabilities: np.ndarray, known: np.ndarray | None = None, names=NAMES
) -> Judged:
    rows = pl.int_range(len(given), dtype=pl.Int32, eager=True)
    ids = pl.format("{}.jpg", rows).alias("id")
    captions = pl.format('"{}",\nit says', rows).alias("caption")
    photos = pl.select(ids, rows.alias("image"), captions)
    known = np.ones_like(given) if known is None else known
    return Judged(photos, given, known, probabilities, names)


def doubted(*arguments) -> pl.DataFrame:
    """``in_doubt`` of what ``judged`` makes of the same arguments, without what is left out."""
    photos = judged(*arguments)
    return in_doubt(photos, left_out(photos))


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
    doubts = doubted(given, probabilities)
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
    doubts = doubted(given, probabilities)
    assert doubts.schema == IN_DOUBT
    assert doubts["chance"].is_sorted(descending=True)
    assert (doubts["least"] <= doubts["chance"]).all()
    assert (doubts["chance"] <= doubts["most"]).all()
    assert doubts.select("id", "label").is_unique().all()
    for row in doubts.iter_rows(named=True):
        in_question = set(doubts.filter(id=row["id"])["label"])
        assert row["id"] == f"{row['image']}.jpg"
        assert row["labels"] == list(np.array(NAMES)[given[row["image"]]])
        assert set(row["suggested"]) == set(row["labels"]) ^ in_question
        assert row["given"] == (row["label"] in row["labels"])


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_labels_that_all_photos_carry_or_none_are_not_judged(rows: int):
    given = np.zeros((rows, 3), bool)
    given[:, 1] = True
    probabilities = np.full((rows, 3), 0.5, np.float32)
    doubts = doubted(given, probabilities)
    assert doubts.schema == IN_DOUBT
    assert doubts.is_empty()
    assert to_work_through(doubts).columns[:2] == ["id", "labels"]


def test_a_network_that_is_always_right_doubts_nothing():
    given = np.random.default_rng(0).random((50, 3)) < 0.5
    assert doubted(given, given.astype(np.float32)).is_empty()


def test_a_network_that_knows_little_doubts_little():
    """As after a small training: it knows two labels of twenty; none that is given is wrong."""
    names = [f"label {number}" for number in range(20)]
    strength = np.where(np.arange(20) < 2, 3.0, 0.4)
    photos_in_doubt = 0
    for seed in range(3):
        random = np.random.default_rng(seed)
        given = random.random((110, 20)) < np.geomspace(0.5, 0.05, 20)
        scores = expit(np.where(given, strength, -strength) + random.normal(0, 1, given.shape))
        photos = judged(given, scores.astype(np.float32), None, names)
        columns = zip(given.T, photos.probabilities.T, strict=True)
        assert sum(doubts_of(*column).sum() for column in columns) > 110  # by confidence alone
        left = left_out(photos)
        assert {*left["weak"], *left["few"]}.isdisjoint(names[:2])
        assert left["few"] == [names[label] for label in np.flatnonzero(given.sum(axis=0) < 10)]
        photos_in_doubt += len(to_work_through(in_doubt(photos, left)))
    assert photos_in_doubt < 0.05 * 3 * 110


@pytest.mark.parametrize(
    ("rows", "noise", "known"), [(2000, 1.0, True), (2000, 6.0, False), (40, 4.0, False)]
)
def test_a_label_is_known_by_its_average_precision(rows: int, noise: float, known: bool):
    random = np.random.default_rng(5)
    truth = random.permutation(rows) < rows // 4
    scores = expit(np.where(truth, 1.5, -1.5) + random.normal(0, noise, rows))
    assert is_known(truth, scores) is known


def test_labels_that_the_table_does_not_predict_are_left_out_and_bend_no_rate():
    given, _, probabilities = turned(7, 900, 1.0)
    probabilities[:, 1] = np.nan
    assert left_out(judged(given, probabilities)) == {"few": [], "weak": ["dog"]}
    doubts = doubted(given, probabilities)
    assert set(doubts["label"]) == {"cat", "owl"}
    assert doubts["chance"].is_between(0, 1).all()


@pytest.mark.parametrize("noise", [1.0, 3.0])
def test_the_share_of_errors_is_within_its_interval(noise: float):
    inside, shares = 0, []
    for seed, first in enumerate((10, 40, 100) * 2):
        given, wrong, probabilities = turned(seed, 1500, noise)
        doubts = doubted(given, probabilities).unique("id", keep="first", maintain_order=True)
        labels = doubts["label"].cast(pl.Enum(NAMES)).to_physical().to_numpy()
        share = wrong[doubts["image"].to_numpy(), labels][:first].mean()
        value, low, high = expected(to_work_through(doubts)[:first])
        assert 0 <= low <= value <= high <= 1
        inside += low <= share <= high
        shares.append((share, value))
    assert inside == 6
    true, estimated = np.mean(shares, axis=0)
    assert abs(true - estimated) < 0.15


def test_the_list_to_work_through_is_a_file_of_corrections(tmp_path: Path):
    given, wrong, probabilities = turned(7, 500, 1.0)
    doubts = doubted(given, probabilities)
    listed = to_work_through(doubts)
    likely = ["chance", "least", "most"]
    assert listed.columns == ["id", "labels", "suggested", "in_doubt", *likely, "image", "caption"]
    assert listed["id"].to_list() == doubts["id"].unique(maintain_order=True).to_list()
    write_csv(tmp_path / "corrections.csv", listed.columns, listed.iter_rows())

    read = corrections.read(tmp_path)
    assert read.rejected == []
    labels = dict(doubts.select("id", "labels").iter_rows())
    # Copied as it is, the list takes nothing from a photo and gives it nothing.
    assert {id: labels for id, (*_, labels) in read.by_id.items()} == {
        id: (tuple(sorted(names)), ()) for id, names in labels.items()
    }
    suggested = dict(doubts.select("id", "suggested").iter_rows())
    # As suggested, more labels are right than before.
    matrix = given.copy()
    rows = listed["image"].to_numpy()
    lists = pl.Series([suggested[id] for id in listed["id"]], dtype=pl.List(pl.String))
    matrix[rows] = records.label_matrix(lists, NAMES)
    assert (matrix != (given ^ wrong)).sum() < wrong.sum() / 3


def test_doubts_are_put_in_words():
    doubts = pl.DataFrame(
        [
            ("a.jpg", 3, "a cat", "cat", False, 0.9871, 0.91234, 0.3, 1, ["owl"], ["cat"], ["dog"]),
            ("a.jpg", 3, "a cat", "owl", True, 0.2, 0.5, 0.1, 0.9, ["owl"], ["cat"], ["dog"]),
            ("b.jpg", 1, None, "owl", True, 0.25, 0.25, 0.0, 0.75, ["owl"], [], []),
        ],
        IN_DOUBT,
        orient="row",
    )
    listed = to_work_through(doubts)
    assert listed.rows() == [
        (
            *("a.jpg", "owl", "cat", "also cat (0.9871), not owl (0.2)"),
            *(0.9123, 0.3, 1.0, 3, "a cat", "dog"),
        ),
        ("b.jpg", "owl", "", "not owl (0.25)", 0.25, 0.0, 0.75, 1, None, ""),
    ]
    assert listed.columns[-1] == "unknown"
    assert to_work_through(doubts[-1:]).rows() == [listed.row(1)[:-1]]


def test_what_nobody_knows_is_not_doubted_and_bends_no_confidence():
    given, _, probabilities = turned(7, 900, 1.0)
    known = np.random.default_rng(1).random(given.shape) < 0.5
    known[:, 2] = False
    probabilities = np.where(known, probabilities, 0.999).astype(np.float32)
    found = [
        doubted(np.where(known, given, of_unknown), probabilities, known)
        for of_unknown in (False, True)
    ]
    doubts = found[0]
    assert set(doubts["label"]) == {"cat", "dog"}
    compared = pl.exclude("labels", "suggested")
    assert doubts.select(compared).equals(found[1].select(compared))
    cells = doubts["image"].to_numpy(), doubts["label"].cast(pl.Enum(NAMES)).to_physical()
    assert known[cells].all()
    first = doubts.row(0, named=True)
    assert first["unknown"] == list(np.array(NAMES)[~known[first["image"]]])
    assert {"owl"} <= set(first["unknown"])
