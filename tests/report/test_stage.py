"""The stage as it runs, after a real train and threshold."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import UserError
from stages.ingest import records
from stages.report.__main__ import REPORT, WORDS, main
from stages.train import probabilities

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
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


def test_photos_that_people_have_looked_at_are_not_listed_again(trained):
    trained()
    main()
    first, *others = DOUBTS.read_text().splitlines()[1:]
    header = "id,labels,given,in_doubt,score,image,caption\n"
    Path("data/corrections.csv").write_text(f"{header}{first}\n")
    main()
    assert DOUBTS.read_text().splitlines()[1:] == others
    assert "begins with what is there: 1 photo." in PAGE.read_text()


def out_of_fold(labels: list[str]) -> str:
    """A table of all labelled photos, of a network sure of their labels but for the first photo."""
    photos = records.read().filter(pl.col("labels").is_not_null())
    sure = np.where(records.label_matrix(photos["labels"], labels), 0.99, 0.01)
    sure[0] = 1 - sure[0]
    file = Path("ensemble/validation.parquet")
    table = probabilities.table(photos["id"], photos["labels"], sure.astype(np.float32))
    probabilities.write(table, labels, file)
    return str(file)


def test_labels_of_all_photos_are_doubted_by_networks_of_all_folds(trained, params):
    trained()
    labels = records.read_label_names()
    params({"report.photos": 2, "report.out_of_fold": out_of_fold(labels)})
    main()
    first = records.read().row(0, named=True)
    others = [name for name in labels if name not in first["labels"]]
    assert pl.read_csv(DOUBTS)["id"].to_list() == [first["id"]]
    assert pl.read_csv(DOUBTS, infer_schema=False)["labels"].to_list() == ["|".join(others)]
    assert f"Of {len(records.read().drop_nulls('labels')):,} photos" in PAGE.read_text()


def test_a_table_that_cannot_judge_is_refused(trained, params):
    trained()
    file = out_of_fold(records.read_label_names())

    def refused(reason: str) -> None:
        params({"report.photos": 2, "report.out_of_fold": file})
        with pytest.raises(UserError, match=rf"out_of_fold: {file} {reason}.*flows.ensemble"):
            main()
        assert not REPORT.exists()

    table, labels = probabilities.read(Path(file)), records.read_label_names()
    probabilities.write(table, labels[::-1], Path(file))
    refused("is of other labels")
    probabilities.write(table.with_columns(id=pl.lit("?") + pl.col("id")), labels, Path(file))
    refused("is of other photos")
    table.write_parquet(file)
    refused("is no table like data/validation.parquet")
    Path(file).write_text("id,labels\n")
    refused("is no table like data/validation.parquet")
    Path(file).unlink()
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
