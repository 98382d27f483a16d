"""The holdout: cut first, like validation, and left alone by what comes after."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from stages import UserError
from stages.ingest import records
from stages.split import folds
from tests.split.test_stage import NAMES, delivered, figures, some_labels, split, write_records


def times(count: int) -> list[datetime]:
    """Of so many photos and the test photo, each a day after the one before."""
    return [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day) for day in range(count + 1)]


def test_each_part_is_a_fraction_of_all_photos_and_rates_are_alike(in_tmp):
    made = write_records(some_labels(600))
    parts = split(validation=0.2, holdout=0.1)
    assert figures()["photos"] == {"train": 420, "validation": 120, "holdout": 60}
    assert (parts.filter(part="holdout")["fold"] == -1).all()
    for of_part in (figures(), figures()["holdout"]):
        assert of_part["largest_relative_gap"] < 0.05 < of_part["largest_relative_gap_random"]
    assert len(folds.rows_of(made, parts, "holdout")) == 60
    assert split(validation=0.2, holdout=0.1).equals(parts)


def test_without_one_no_figure_speaks_of_it(in_tmp):
    write_records(some_labels(60))
    assert set(split()["part"]) == {"train", "validation"}
    assert "holdout" not in figures() and "holdout" not in figures()["photos"]


def test_all_folds_have_the_same(in_tmp):
    write_records(some_labels(110))
    first, second = (split(validation=None, folds=4, fold=n, holdout=0.1) for n in (0, 3))
    assert first.filter(part="holdout").equals(second.filter(part="holdout"))
    assert np.unique(first["fold"], return_counts=True)[1].tolist() == [11, 25, 25, 25, 24]
    assert first["fold"].equals(second["fold"])


def test_groups_and_the_same_photos_are_on_one_side(in_tmp):
    groups = [f"patient {number // 4}" for number in range(120)]
    write_records(some_labels(120), group=[*groups, None], dhash=[*[7] * 6, *range(6, 121)])
    parts = split(validation=0.25, holdout=0.25)
    for group in np.unique(groups):
        assert parts.filter(np.array(groups) == group)["part"].n_unique() == 1
    assert parts[:8]["part"].n_unique() == 1
    assert figures()["groups"]["in_several_parts"] == 0


def test_by_time_the_newest_are_held_out_and_the_next_validate(in_tmp):
    write_records(some_labels(100), time=times(100))
    parts = split(by="time", validation=0.2, holdout=0.1)["part"].to_list()
    assert parts == ["train"] * 70 + ["validation"] * 20 + ["holdout"] * 10
    said = figures()["time"]
    assert said["train_until"] < said["validation_from"] < said["holdout_from"]
    assert said["holdout_from"].startswith("2024-03-31")


def test_photos_that_the_source_has_validate_are_not_held_out(in_tmp):
    given = ["validation"] * 30 + ["train"] * 50 + [None] * 20
    write_records(some_labels(100), part=[*given, None])
    parts = split(validation=None, holdout=0.2)
    assert set(parts["part"][:30]) == {"validation"}
    assert figures()["photos"] == {"train": 50, "validation": 30, "holdout": 20}


@pytest.mark.parametrize("changes", [{"validation": 0.2}, {"validation": None, "folds": 4}])
def test_photos_keep_their_part_when_more_arrive(in_tmp, changes: dict):
    labels = some_labels(200)
    looks = [*range(150), *range(20), *range(170, 201)]  # photos of the last come again
    write_records(labels[:120], delivery=delivered(120))
    first = split(holdout=0.1, **changes)
    write_records(labels, dhash=looks, delivery=delivered(120, 80))
    second = split(holdout=0.1, **changes)
    assert second[:120].equals(first)
    assert (second["part"] == "holdout").sum() == 20
    assert second["part"][150:170].to_list() == second["part"][:20].to_list()


def test_labelled_test_photos_are_one_already(in_tmp):
    made = write_records([*some_labels(39), ["cat"]])
    labels = pl.col("labels").fill_null(pl.lit(["cat"]))
    records.write(made.with_columns(labels), NAMES)
    with pytest.raises(UserError, match=r"labels of 1 test photos .* split\.holdout to null"):
        split(holdout=0.2)
    assert len(split()) == 40


@pytest.mark.parametrize(
    ("labels", "changes", "sentence"),
    [
        ([["cat"], []], {"holdout": 0.1}, "2 photos with known labels cannot be split into 3"),
        ([["cat"]] * 9, {"holdout": 0.5, "validation": 0.5}, "none trains; lower one"),
        ([["cat"]] * 9, {"holdout": 0, "validation": 0.5}, "split.holdout should be greater"),
    ],
)
def test_what_cannot_be_held_out_is_said(in_tmp, labels, changes, sentence):
    write_records(labels)
    with pytest.raises(UserError, match=sentence):
        split(**changes)
    assert not folds.FOLDS.exists()
