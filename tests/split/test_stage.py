"""The stage as it runs: records in, folds and figures out."""

import json
import shutil
from datetime import UTC, datetime, timedelta
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
    schema = records.SCHEMA | {name: records.OPTIONAL[name] for name in {*columns} - {*table}}
    made = pl.DataFrame(table | columns, schema=schema)
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


@pytest.mark.parametrize("changes", [{}, {"folds": 4, "validation": None}])
def test_photos_keep_their_part_when_their_like_arrive(in_tmp, changes: dict):
    labels = some_labels(140)
    hashes, shas = [*range(100), *range(40)], [f"{number:064x}" for number in range(140, 0, -1)]
    write_records(labels[:100], dhash=[*hashes[:100], 1000], sha256=[*shas[:100], "test"])
    first = split(**changes)
    write_records(
        labels, dhash=[*hashes, 1000], sha256=[*shas, "test"], delivery=delivered(100, 40)
    )
    second = split(**changes)
    assert second[:100].equals(first)


def test_a_photo_like_two_in_different_parts_moves_neither(in_tmp, capsys):
    labels = some_labels(100)
    write_records(labels)
    first = split()
    validates, trains = (first["part"].to_list().index(part) for part in ("validation", "train"))
    shas = [f"{number:064x}" for number in range(100)]
    delivery = delivered(100, 1)
    write_records(
        [*labels, ["cat"]],
        sha256=[*shas, shas[validates], "test"],
        dhash=[*range(100), trains, 1000],
        delivery=delivery,
    )
    second = split()
    assert second[:100].equals(first)
    assert second["part"][100] == "train"
    assert figures()["same_photos_in_several_parts"] == 1
    assert "1 sets of photos that are the same stand in several parts" in capsys.readouterr().out


def test_a_delivery_of_one_photo(in_tmp):
    write_records(some_labels(41), delivery=delivered(1, 39, 1))
    split()
    assert figures()["photos"] == {"train": 33, "validation": 8}


def patients(count: int, most: int = 20) -> tuple[list[str], list[list[str]]]:
    """The group of each photo, and its labels, which a patient's photos have in common mostly."""
    random = np.random.default_rng(0)
    groups, labels = [], []
    for number in range(count):
        has = random.random(3) < [0.5, 0.3, 0.1]
        for _ in range(random.integers(1, most + 1)):
            here = has ^ (random.random(3) < 0.1)
            groups.append(f"patient {number}")
            labels.append([name for name, there in zip(NAMES, here, strict=True) if there])
    return groups, labels


def in_parts(groups: list[str | None], parts: pl.DataFrame) -> dict[str, set[int]]:
    """The folds that photos of each group are in."""
    found: dict[str, set[int]] = {}
    for group, fold in zip(groups, parts["fold"], strict=True):
        found.setdefault(group, set()).add(fold)
    return found


@pytest.mark.parametrize("changes", [{}, {"validation": None, "folds": 5, "fold": 2}])
def test_no_patient_is_in_two_parts(in_tmp, capsys, changes: dict):
    groups, labels = patients(300)
    write_records(labels, group=[*groups, None])
    parts = split(**changes)
    assert all(len(folds) == 1 for folds in in_parts(groups, parts).values())
    metrics = figures()
    assert metrics["groups"] == {
        "groups": 300,
        "photos": len(groups),
        "largest": max(map(groups.count, set(groups))),
        "in_several_parts": 0,
        "in_labelled_test": 0,
    }
    sizes = np.bincount(parts["fold"])
    wanted = np.array([0.2, 0.8] if not changes else [0.2] * 5) * len(groups)
    assert np.abs(sizes - wanted).max() <= 1
    gap, least = (metrics[f"largest_relative_gap{end}"] for end in ("", "_smallest_possible"))
    assert least <= gap < metrics["largest_relative_gap_random"] / 5
    assert f"rate {gap:.2g}, with these groups at least {least:.2g}" in capsys.readouterr().out


def test_groups_and_photos_that_are_the_same_stay_together_as_one(in_tmp):
    # Photos 0 and 1 are a group's, 1 and 2 are the same one, 2 and 3 are another group's.
    groups = ["a", "a", "b", "b", *[None] * 36]
    hashes = [0, 1, 1, *range(3, 41)]
    write_records(some_labels(40), group=[*groups, None], dhash=hashes)
    for seed in range(4):
        parts = split(validation=0.5, seed=seed)
        assert parts["part"][:4].n_unique() == 1
    assert figures()["kept_together"] == {"groups": 1, "photos": 2, "largest": 2}
    assert figures()["groups"]["groups"] == 2


def test_new_photos_of_a_group_follow_it(in_tmp):
    groups, labels = patients(60, most=4)
    known = len(groups) // 2
    write_records(labels[:known], group=[*groups[:known], None])
    first = split()
    order = [*range(known, len(groups)), *range(known)]  # each patient again
    groups += [groups[row] for row in order]
    labels += [labels[row] for row in order]
    write_records(labels, group=[*groups, None], delivery=delivered(known, len(labels) - known))
    second = split()
    assert second[:known].equals(first)
    assert all(len(folds) == 1 for folds in in_parts(groups, second).values())
    assert figures()["groups"]["in_several_parts"] == 0


def test_a_group_in_the_labelled_test_set_is_counted_and_said(in_tmp, capsys):
    groups = ["a"] * 3 + ["b"] * 3 + [None] * 34
    columns = {"group": [*groups, "b"]}
    write_records(some_labels(40), **columns)
    split()
    assert figures()["groups"]["in_labelled_test"] == 0  # nothing is measured there
    assert "warning" not in capsys.readouterr().out
    measured = pl.when(pl.col("subset") == "test").then(pl.lit(["cat"])).otherwise("labels")
    records.write(records.read().with_columns(labels=measured), NAMES)
    split()
    assert figures()["groups"]["in_labelled_test"] == 1
    assert "1 groups have photos in the labelled test set" in capsys.readouterr().out


def test_groups_too_large_for_the_parts(in_tmp):
    write_records(some_labels(40), group=["a"] * 41)
    with pytest.raises(UserError, match=r"only 1 different .* of a group"):
        split()


def times(*days: int | None) -> list[datetime | None]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return [None if day is None else start + timedelta(days=day) for day in days]


def test_the_newest_validate(in_tmp):
    days = np.random.default_rng(0).permutation(100).tolist()
    write_records(some_labels(100), time=[*times(*days), None])
    parts = split(by="time")
    assert [day for day, part in zip(days, parts["part"], strict=True) if part == "validation"] == [
        day for day in days if day >= 80
    ]
    assert figures()["time"] == {
        "train_until": "2026-03-21T00:00:00+00:00",
        "validation_from": "2026-03-22T00:00:00+00:00",
        "photos_without": 0,
    }


def test_by_time_groups_stay_whole_and_nothing_newer_trains(in_tmp):
    groups, labels = patients(60, most=6)
    days = np.random.default_rng(1).integers(0, 50, len(groups)).tolist()
    write_records(labels, group=[*groups, None], time=[*times(*days), None])
    parts = split(by="time")
    assert all(len(folds) == 1 for folds in in_parts(groups, parts).values())
    newest: dict[str, int] = {}
    for group, day in zip(groups, days, strict=True):
        newest[group] = max(day, newest.get(group, 0))
    of_part = {"train": set(), "validation": set()}
    for group, part in zip(groups, parts["part"], strict=True):
        of_part[part].add(newest[group])
    assert max(of_part["train"]) <= min(of_part["validation"])
    assert figures()["photos"]["validation"] == pytest.approx(0.2 * len(groups), abs=3)


def test_photos_of_one_time_are_drawn_by_lot(in_tmp):
    write_records(some_labels(40), time=[*times(*[0] * 40), None])
    first = split(by="time", seed=1)
    assert figures()["photos"] == {"train": 32, "validation": 8}
    assert not split(by="time", seed=2).equals(first)


def test_photos_without_a_time_train_and_are_counted(in_tmp, capsys):
    write_records(some_labels(40), time=[*times(*[None] * 5, *range(35)), None])
    assert split(by="time")["part"][:5].unique().to_list() == ["train"]
    assert figures()["photos"] == {"train": 32, "validation": 8}
    assert figures()["time"]["photos_without"] == 5
    assert "5 photos have no time; they train" in capsys.readouterr().out


def test_by_time_photos_keep_their_part_when_newer_arrive(in_tmp):
    labels, days = some_labels(150), [*range(100), *range(150, 100, -1)]
    write_records(labels[:100], time=[*times(*days[:100]), None])
    first = split(by="time")
    write_records(labels, time=[*times(*days), None], delivery=delivered(100, 50))
    second = split(by="time")
    assert second[:100].equals(first)
    assert second["part"][100:].to_list() == ["validation"] * 10 + ["train"] * 40


def test_given_parts_are_kept(in_tmp, capsys):
    given = ["validation", "train", "train"] * 13
    groups = [*["a"] * 2, *[None] * 38]  # in both parts, and so are the same photos 3 and 4
    write_records(
        some_labels(39), part=[*given, None], group=groups, dhash=[0, 1, 2, 3, 3, *range(5, 40)]
    )
    parts = split(validation=None)
    assert parts["part"].to_list() == given
    assert parts["fold"].to_list() == [0 if part == "validation" else 1 for part in given]
    metrics = figures()
    assert metrics["given"] == {"train": 26, "validation": 13, "neither": 0}
    assert metrics["groups"]["in_several_parts"] == 1
    assert metrics["same_photos_in_several_parts"] == 1
    assert metrics["largest_relative_gap_smallest_possible"] <= metrics["largest_relative_gap"]
    said = capsys.readouterr().out
    assert "warning: 1 groups and 1 sets of photos that are the same stand in several parts" in said
    assert split(validation=0.5).equals(parts)


def test_beside_given_parts_photos_train_or_go_with_their_like(in_tmp, capsys):
    given = [*["validation"] * 5, *["train"] * 15, *[None] * 20]
    groups = [*["a", "b", "c"], *[None] * 17, "a", "b", "a", *[None] * 17, None]
    write_records(some_labels(40), part=[*given, None], group=groups)
    part = split()["part"].to_list()
    assert part[:20] == given[:20]
    assert part[20:] == ["validation"] * 3 + ["train"] * 17
    assert figures()["given"]["neither"] == 20
    assert "20 photos have no part from the source" in capsys.readouterr().out


def test_parts_that_give_nothing_to_validation_are_no_parts(in_tmp, capsys):
    write_records(some_labels(40))
    usual = split()
    write_records(some_labels(40), part=[*["train"] * 40, None])
    assert split().equals(usual)
    assert "none to validation" in capsys.readouterr().out


def test_given_parts_move_no_photo_of_an_earlier_delivery(in_tmp):
    labels = some_labels(100)
    write_records(labels[:60])
    first = split()
    given = [*[None] * 60, *["validation"] * 10, *["train"] * 10, *[None] * 20, None]
    write_records(labels, part=given, delivery=delivered(60, 40))
    second = split()
    assert second[:60].equals(first)
    assert second["part"][60:].to_list() == ["validation"] * 10 + ["train"] * 30


@pytest.mark.parametrize(
    ("columns", "changes", "sentence"),
    [
        (
            {"part": [*["validation"] * 4, *["train"] * 36, None]},
            {"folds": 4, "validation": None},
            "the source gives 4 photos to validation, so there are no folds",
        ),
        ({"part": [*["validation"] * 40, None]}, {}, "all 40 photos .* to validation"),
        ({}, {"validation": None}, "split.validation and split.folds are both null"),
        ({}, {"by": "time"}, "split.by is time, but no photo"),
        ({}, {"by": "time", "folds": 3, "validation": None}, "by time there is one split"),
    ],
)
def test_parts_that_cannot_be_are_said_in_a_sentence(in_tmp, columns, changes, sentence):
    write_records(some_labels(40), **columns)
    with pytest.raises(UserError, match=sentence):
        split(**changes)
    assert not folds.FOLDS.exists()


def test_rates_are_those_of_photos_whose_label_is_known(in_tmp):
    random = np.random.default_rng(1)
    hidden = (random.random((300, 3)) < [0, 0.5, 0.3]).tolist()
    hidden[0] = [True] * 3
    unknown = [
        [name for name, is_hidden in zip(NAMES, row, strict=True) if is_hidden] for row in hidden
    ]
    labels = [
        [name for name in row if name not in of_row]
        for row, of_row in zip(some_labels(300), unknown, strict=True)
    ]
    write_records(labels, unknown=[*unknown, None])
    validates = (split()["part"] == "validation").to_list()
    gap = figures()["relative_gap"]
    for name in NAMES:
        rates = {}
        for part in (True, False, None):
            rows = [
                name in has
                for has, of_row, here in zip(labels, unknown, validates, strict=True)
                if name not in of_row and part in (here, None)
            ]
            rates[part] = sum(rows) / len(rows)
        assert gap[name] == pytest.approx(abs(rates[True] - rates[False]) / rates[None], abs=1e-6)
    none = [not has and not of_row for has, of_row in zip(labels, unknown, strict=True)]
    assert sum(figures()["photos_without_labels"].values()) == sum(none)
    assert figures()["largest_relative_gap"] < figures()["largest_relative_gap_random"] / 3


def test_what_is_known_everywhere_changes_nothing(in_tmp):
    write_records(some_labels(100))
    split()
    first = folds.FOLDS.read_bytes(), Path("metrics/split.json").read_bytes()
    write_records(some_labels(100), unknown=[*[[]] * 100, None])
    split()
    assert (folds.FOLDS.read_bytes(), Path("metrics/split.json").read_bytes()) == first
