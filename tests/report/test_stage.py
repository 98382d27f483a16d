"""The stage as it runs, after a real train and threshold."""

import json
import re
from pathlib import Path

import polars as pl
import pytest

from stages import UserError
from stages.files import write_csv
from stages.ingest import records
from stages.network.probabilities import (
    probability_table,
    read_label_names,
    read_probabilities,
    write_probabilities,
)
from stages.predict.__main__ import main as predict
from stages.report.__main__ import REPORT, main
from stages.report.explanations import WORDS
from stages.report.label_quality import CHECKED
from stages.split import folds
from stages.threshold.__main__ import main as threshold
from tests.report.conftest import TABLE, out_of_fold

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
NO_TABLE = "is no table like data/validation.parquet"
PAGE, DOUBTS = REPORT / "index.html", REPORT / "label_quality.csv"


def figures() -> dict:
    return json.loads(Path("metrics/report.json").read_text())


def test_a_page_of_the_labels_that_most_photos_carry(trained):
    trained({"report.labels": 4, "report.captions": 20})
    main()
    metrics = figures()
    assert (metrics["labels"], metrics["labels_left_out"], metrics["captions"]) == (4, 6, 20)
    assert 4 <= metrics["photos"] == metrics["heat_maps"] <= 4 * 5 * 2
    assert metrics["heat_maps_left_out"] == 0
    assert metrics["page_mb"] == round(PAGE.stat().st_size / 1e6, 2)
    assert 0.9 < metrics["page_mb"] < 2
    assert pl.read_csv(WORDS).columns == ["label", "word", "captions", "effect"]
    assert pl.read_csv(DOUBTS).columns[:2] == ["id", "labels"]
    assert "measured on 40 photos of the test set: " in PAGE.read_text()
    assert "Of 32 labelled photos" in PAGE.read_text()
    assert "Known of" not in PAGE.read_text() and "not known" not in PAGE.read_text()
    assert "The other 128 of training and validation are not judged" in PAGE.read_text()
    measured = json.loads(Path("metrics/threshold.json").read_text())
    reached, without = measured["cross_fitted"]["micro_f1"]["value"], measured["without_model"]
    told = "It has learnt nothing of use" in PAGE.read_text()
    assert told == (reached < without["micro_f1"])
    files = (PAGE, DOUBTS, WORDS)
    before = [file.read_bytes() for file in files]
    main()
    assert [file.read_bytes() for file in files] == before


def test_photos_whose_labels_were_checked_are_not_listed_again(trained):
    trained({"report.out_of_fold": str(TABLE)})
    out_of_fold(records.read_label_names(), turned=4)
    main()
    assert "that people have checked" not in PAGE.read_text()
    listed = pl.read_csv(DOUBTS)["id"].to_list()
    for left_out, words in ((listed[1:2], "is one photo"), (listed[1:3], "are 2 photos")):
        write_csv(CHECKED, ["id"], [[id] for id in (*left_out, "of another list")])
        main()
        assert pl.read_csv(DOUBTS)["id"].to_list() == [id for id in listed if id not in left_out]
        assert f"Left out {words} that people have checked." in PAGE.read_text()


def test_what_is_not_known_of_a_photo_counts_nowhere_and_is_said(trained):
    trained({"report.labels": None, "report.photos": 1})
    names = records.read_label_names()
    table = read_probabilities()
    # The first half says nothing of the first label, and the network finds it on all photos.
    first, rest = pl.lit(names[:1]), pl.int_range(pl.len()) >= len(table) // 2
    one = table.with_columns(
        # … and no photo of either half carries the last one.
        labels=pl.col("labels").list.set_difference(first).list.set_difference(pl.lit(names[9:])),
        unknown=pl.when(rest).then(None).otherwise(first),
    )
    probabilities = one["probabilities"].to_numpy().copy()
    probabilities[:, 0] = 0.99
    table = probability_table(one["id"], one["labels"], probabilities, one["unknown"])
    write_probabilities(table, names)
    of_train = pl.when(pl.col("subset") == "train").then("labels")
    records.write(records.read().with_columns(labels=of_train), names)  # there is no holdout
    threshold()
    predict()
    main()
    text = PAGE.read_text()
    assert "by which its epoch and its thresholds were chosen" in text
    nothing = '<td class="number" data-value="-1">–</td>' * 4
    assert '<td class="number" data-value="0">0</td><td class="number" data-value="32">32' in text
    assert text.count(nothing) == 2  # nor does one of the others carry the first
    assert re.search(r"there is too little to say, since fewer than 50 [^.]*<bdi>9</bdi>", text)
    others = len(table) - len(table) // 2
    assert f"on 0 of 0 photos that carry it, and on {others} of {others} others; not known of " in (
        text
    )
    assert '<td class="number" data-value="16">16</td>' in text
    cards = {
        id: labels
        for id, labels in re.findall(r'alt="Photo ([^":]+).*?<ul class="photo-labels">(.*?)</ul>',
                                     text, re.DOTALL)
    }  # fmt: skip
    assert {"?" in cards[id] for id in set(table["id"][:16]) & set(cards)} == {True}
    assert {"?" in cards[id] for id in set(table["id"][16:]) & set(cards)} == {False}


def test_photos_that_would_teach_most_are_shown(trained, monkeypatch):
    monkeypatch.setattr("stages.report.labels_next.ASKED", 8)
    trained({"report.labels": 1, "report.photos": 1})
    main()
    assert "What to label next" not in PAGE.read_text()
    photos, ids = records.read(), folds.read().filter(part="train")["id"].to_list()[:9]
    known = pl.when(~pl.col("id").is_in(ids)).then("labels")
    records.write(photos.with_columns(labels=known), records.read_label_names())
    main()
    shown = PAGE.read_text().partition("What to label next")[2].partition("The same photo twice")[0]
    assert "9 photos to learn from have no labels yet. These, of 8 drawn from them," in shown
    named = re.findall(r"<p><b><bdi>(.+?)</bdi></b>: <bdi>\d</bdi> 0\.\d\d, ", shown)
    assert len(named) == 8 == len(set(named) & set(ids))


def test_labels_of_all_photos_are_doubted_by_networks_of_all_folds(trained, params, capsys):
    trained()
    names = records.read_label_names()
    # In another order, with one that no photo carries any more, and without one that is new.
    new = names[3]
    out_of_fold(["gone", *(name for name in names[::-1] if name != new)])
    # Labels that were put right after the networks had learnt them; a test photo's are known, too.
    photos = records.read()
    tests = pl.when(subset="test").then(pl.lit([names[0]])).otherwise("labels")
    second = pl.int_range(pl.len()) == 1
    right = pl.when(second).then(pl.lit([names[0], new])).otherwise(tests)
    # Nobody knows of one label whether the first photo carries it.
    asked = next(name for name in names if name not in (new, *photos["labels"][0]))
    unknown = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit([asked]))
    records.write(photos.with_columns(labels=right, unknown=unknown), names)
    params({"report.photos": 2, "report.out_of_fold": str(TABLE)})
    main()
    assert f"report: {TABLE} does not know {new}; nobody doubts" in capsys.readouterr().out
    listed = pl.read_csv(DOUBTS, infer_schema=False)
    of_training = listed.filter(pl.col("id").is_in(photos.filter(subset="train")["id"].implode()))
    assert set(of_training["id"]) == set(photos["id"].head(2))
    first, second = (
        set(listed.row(by_predicate=pl.col("id") == id, named=True)["suggested"].split("|"))
        for id in photos["id"].head(2)
    )
    given = set(photos["labels"][0])
    assert first == set(names) - given - {new, asked} | given & {new}
    assert dict(listed.select("id", "unknown").iter_rows())[photos["id"][0]] == asked
    assert f"<dt>Not known</dt><dd><bdi>{asked}</bdi></dd>" in PAGE.read_text()
    assert second == set(photos["labels"][1]) | {new}
    assert f"Of {len(photos):,} labelled photos" in PAGE.read_text()
    assert "are not judged" not in PAGE.read_text()


def test_a_table_that_cannot_judge_is_refused(trained, params):
    trained()
    labels = records.read_label_names()
    table = out_of_fold(labels)
    as_list = pl.col("probabilities").cast(pl.List(pl.Float32))

    def refused(reason: str) -> None:
        params({"report.photos": 2, "report.out_of_fold": str(TABLE)})
        with pytest.raises(UserError, match=rf"out_of_fold: {TABLE} {reason}.*evaluation.ensemble"):
            main()
        assert not REPORT.exists()

    for reason, wrong, names in (
        ("has other labels", table, [f"{label}?" for label in labels]),
        ("has other photos", table.with_columns(id=pl.lit("?") + pl.col("id")), labels),
        ("has photos twice", pl.concat([table, table.head(1)]), labels),
        (NO_TABLE, table.rename({"id": "photo"}), labels),
        (NO_TABLE, table.with_columns(id=pl.int_range(pl.len())), labels),
        (NO_TABLE, table.with_columns(as_list), labels),
        (NO_TABLE, table, labels[1:]),
    ):
        write_probabilities(wrong, names, TABLE)
        refused(reason)
    table.write_parquet(TABLE)
    refused(NO_TABLE)
    table.write_parquet(TABLE, metadata={"labels": "zero, one"})
    refused(NO_TABLE)
    TABLE.write_text("id,labels\n")
    refused(NO_TABLE)
    TABLE.unlink()
    refused(NO_TABLE)


def test_the_words_of_digits_speak_for_them(trained):
    trained({"train.inputs": "caption", "train.epochs": 40, "train.text.hidden": 32})
    main()
    words = pl.read_csv(WORDS, schema_overrides={"label": pl.String})
    first = dict(words.unique("label", keep="first").select("label", "word").iter_rows())
    of_themselves = [first.get(str(digit)) == word for digit, word in enumerate(DIGITS)]
    assert sum(of_themselves) >= 5, first  # those that occur often enough; by chance one in ten
    assert "heat_maps" not in figures()
    assert 'class="heat"' not in PAGE.read_text()


def test_without_captions(trained):
    uncaptioned = records.read().with_columns(caption=pl.lit(None, pl.String))
    records.write(uncaptioned, records.read_label_names())
    trained({"train.inputs": "image"})
    main()
    assert WORDS.read_text() == "label,word,captions,effect\n"
    assert "captions" not in figures()
    assert 'class="caption"' not in PAGE.read_text()


def test_a_backbone_without_maps_is_said_to_have_none(trained, capsys):
    # Most of SqueezeNet works on what is left of 32 pixels: one.
    trained({"train.backbone": "squeezenet1_1", "train.epochs": 0})
    capsys.readouterr()
    main()
    assert "report: squeezenet1_1 keeps no maps of photos of 32 pixels" in capsys.readouterr().out
    assert figures()["heat_maps"] == 0
    assert figures()["heat_maps_left_out"] == figures()["photos"] > 0
    assert "The network was not trained" in PAGE.read_text()


def test_without_a_validation_photo_it_says_so(trained):
    trained()
    empty = read_probabilities().clear()
    write_probabilities(empty, read_label_names())
    with pytest.raises(UserError, match=r"data/validation.parquet has no row"):
        main()
    assert not REPORT.exists()
