"""The stage as it runs, after a real train and threshold."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import UserError
from stages.files import write_csv
from stages.ingest import records
from stages.report.__main__ import CHECKED, REPORT, WORDS, main
from stages.train import probabilities

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TABLE = Path("ensemble/validation.parquet")
PAGE, DOUBTS = REPORT / "index.html", REPORT / "label_quality.csv"


def said() -> dict:
    return json.loads(Path("metrics/report.json").read_text())


def test_a_page_of_the_labels_that_most_photos_carry(trained):
    trained({"report.labels": 4, "report.captions": 20})
    main()
    found = said()
    assert (found["labels"], found["labels_left_out"], found["captions"]) == (4, 6, 20)
    assert 4 <= found["photos"] == found["heat_maps"] <= 4 * 5 * 2
    assert found["heat_maps_left_out"] == 0
    assert found["page_mb"] == round(PAGE.stat().st_size / 1e6, 2)
    assert 0.9 < found["page_mb"] < 2
    assert pl.read_csv(WORDS).columns == ["label", "word", "captions", "effect"]
    assert pl.read_csv(DOUBTS).columns[:2] == ["id", "labels"]
    files = (PAGE, DOUBTS, WORDS)
    before = [file.read_bytes() for file in files]
    main()
    assert [file.read_bytes() for file in files] == before


def test_photos_whose_labels_were_checked_are_not_listed_again(trained):
    trained()
    main()
    assert "photo that people have checked" not in PAGE.read_text()
    listed = pl.read_csv(DOUBTS)["id"].to_list()
    write_csv(CHECKED, ["id"], [[listed[1]], ["of another list"]])
    main()
    assert pl.read_csv(DOUBTS)["id"].to_list() == [listed[0], *listed[2:]]
    assert "Left out is one photo that people have checked." in PAGE.read_text()


def out_of_fold(labels: list[str]) -> pl.DataFrame:
    """What networks say that are sure of all photos' labels, but for the first photo's."""
    photos, names = records.read(), records.read_label_names()
    known = photos["labels"].fill_null([])
    sure = np.where(records.label_matrix(known, names), 0.99, 0.01)
    sure[0] = 1 - sure[0]
    ordered = sure[:, [names.index(each) if each in names else 0 for each in labels]]
    table = probabilities.table(photos["id"], photos["labels"], ordered.astype(np.float32))
    probabilities.write(table, labels, TABLE)
    return table


def test_labels_of_all_photos_are_doubted_by_networks_of_all_folds(trained, params):
    trained()
    names = records.read_label_names()
    # In another order, and with one that no photo carries any more.
    out_of_fold(["gone", *names[::-1]])
    # Labels that were put right after the networks had learnt them.
    photos = records.read()
    second = pl.int_range(pl.len()) == 1
    right = pl.when(second).then(pl.lit([names[0], names[1]])).otherwise("labels")
    records.write(photos.with_columns(labels=right), names)
    params({"report.photos": 2, "report.out_of_fold": str(TABLE)})
    main()
    listed = pl.read_csv(DOUBTS, infer_schema=False)
    assert set(listed["id"]) == set(photos["id"].head(2))
    first = listed.row(by_predicate=pl.col("id") == photos["id"][0], named=True)
    assert first["labels"].split("|") == [each for each in names if each not in photos["labels"][0]]
    assert f"Of {photos['labels'].count():,} labelled photos" in PAGE.read_text()
    assert "are not judged" not in PAGE.read_text()


def test_of_validation_photos_alone_the_page_says_so(trained):
    trained()
    main()
    count, judged = records.read()["labels"].count(), len(probabilities.read())
    assert f"Of {judged:,} labelled photos" in PAGE.read_text()
    assert f"The other {count - judged:,} are not judged" in PAGE.read_text()


def test_a_table_that_cannot_judge_is_refused(trained, params):
    trained()
    labels = records.read_label_names()
    table = out_of_fold(labels)

    def refused(reason: str) -> None:
        params({"report.photos": 2, "report.out_of_fold": str(TABLE)})
        with pytest.raises(UserError, match=rf"out_of_fold: {TABLE} {reason}.*flows.ensemble"):
            main()
        assert not REPORT.exists()

    probabilities.write(table, labels[1:], TABLE)
    refused(f"does not know the label {labels[0]}")
    probabilities.write(table.with_columns(id=pl.lit("?") + pl.col("id")), labels, TABLE)
    refused("has other photos")
    probabilities.write(pl.concat([table, table.head(1)]), labels, TABLE)
    refused("has photos twice")
    probabilities.write(table.rename({"id": "photo"}), labels, TABLE)
    refused("is no table like data/validation.parquet")
    table.write_parquet(TABLE)
    refused("is no table like data/validation.parquet")
    table.write_parquet(TABLE, metadata={"labels": "zero, one"})
    refused("is no table like data/validation.parquet")
    TABLE.write_text("id,labels\n")
    refused("is no table like data/validation.parquet")
    TABLE.unlink()
    refused("is no table like data/validation.parquet")


def test_the_words_of_digits_speak_for_them(trained):
    trained({"train.inputs": "caption", "train.epochs": 40, "train.text.hidden": 32})
    main()
    words = pl.read_csv(WORDS, schema_overrides={"label": pl.String})
    first = dict(words.unique("label", keep="first").select("label", "word").iter_rows())
    of_themselves = [first.get(str(digit)) == word for digit, word in enumerate(DIGITS)]
    assert sum(of_themselves) >= 5, first  # those that occur often enough; by chance one in ten
    assert "heat_maps" not in said()
    assert 'class="heat"' not in PAGE.read_text()


def test_without_captions(trained):
    uncaptioned = records.read().with_columns(caption=pl.lit(None, pl.String))
    records.write(uncaptioned, records.read_label_names())
    trained({"train.inputs": "image"})
    main()
    assert WORDS.read_text() == "label,word,captions,effect\n"
    assert "captions" not in said()
    assert 'class="caption"' not in PAGE.read_text()


def test_a_backbone_without_maps_is_said_to_have_none(trained, capsys):
    # Most of SqueezeNet works on what is left of 32 pixels: one.
    trained({"train.backbone": "squeezenet1_1", "train.epochs": 0})
    capsys.readouterr()
    main()
    assert "report: squeezenet1_1 keeps no maps of photos of 32 pixels" in capsys.readouterr().out
    assert said()["heat_maps"] == 0
    assert said()["heat_maps_left_out"] == said()["photos"] > 0
    assert "The network was not trained" in PAGE.read_text()


def test_without_a_validation_photo_it_says_so(trained):
    trained()
    empty = probabilities.read().clear()
    probabilities.write(empty, probabilities.read_label_names())
    with pytest.raises(UserError, match=r"data/validation.parquet has no row"):
        main()
    assert not REPORT.exists()
