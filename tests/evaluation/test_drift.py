"""What is said of new photos, beside those that a model was trained with."""

from dataclasses import replace

import polars as pl
import pytest

from evaluation.judge.drift import drift
from experiments.params import overlay
from stages.ingest import records
from tests import factories

NETWORK = factories.description("image+caption", labels=2, words=["dog", "bench"])


def table(
    labels: list[list[str] | None],
    captions: list[str | None],
    start: int,
    unknown: list[list[str] | None] | None = None,
) -> pl.DataFrame:
    count = len(labels)
    columns = {
        "id": [f"{start + i}.jpg" for i in range(count)],
        "subset": ["train"] * count,
        "labels": labels,
        "caption": captions,
        "width": [100 * (i + start + 1) for i in range(count)],
        "height": [50] * count,
        "sha256": [str(start + i) for i in range(count)],
        "dhash": [0] * count,
        "image": list(range(count)),
        "delivery": [0] * count,
        "unknown": unknown or [None] * count,
    }
    schema = {**records.SCHEMA, "unknown": records.OPTIONAL["unknown"]}
    return pl.DataFrame(columns, schema)


BEFORE = table([["cat"], ["dog"], [], None], ["a dog", "the bench", None, "a dog"], 0)


def test_new_photos_beside_those_before():
    new = table([["owl"], ["owl", "dog"]], ["owl, owl", "an owl and a dog"], 4)
    found = drift(BEFORE, pl.concat([BEFORE, new]), ["cat", "dog"], ["dog", "owl"], NETWORK)
    assert found["photos"] == {"before": 4, "new": 2}
    assert found["label_rates"] == {
        "dog": {"before": pytest.approx(1 / 3), "new": 0.5},
        "owl": {"before": 0, "new": 1},
    }
    assert (found["new_labels"], found["gone_labels"]) == (["owl"], ["cat"])
    assert found["unknown_words"] == {"before": 0, "new": 0.75}
    assert found["median_size"] == {"before": [250, 50], "new": [550, 50]}
    assert "label_known" not in found


def test_rates_are_of_the_photos_of_which_a_label_is_known():
    labels = [["cat"], ["dog"], [], None, ["cat"]]
    unknown = [["dog", "gone"], None, ["owl", "dog"], None, ["owl"]]
    before = table(labels, [None] * 5, 0, unknown)
    new = table([["dog"], []], [None] * 2, 5, [["owl"], ["cat", "owl"]])
    names = ["cat", "dog", "owl"]
    found = drift(before, pl.concat([before, new]), [*names, "gone"], names, NETWORK)
    assert found["label_rates"] == {
        "cat": {"before": 0.5, "new": 0},
        "dog": {"before": 0.5, "new": 0.5},
        "owl": {"before": 0, "new": None},
    }
    assert found["label_known"] == {
        "cat": {"before": 4, "new": 1},
        "dog": {"before": 2, "new": 2},
        "owl": {"before": 2, "new": 0},
    }


def test_where_there_is_nothing_to_say():
    found = drift(BEFORE, BEFORE, ["cat", "dog"], ["cat", "dog"], NETWORK)
    assert found["photos"]["new"] == 0
    assert found["label_rates"]["cat"] == {"before": pytest.approx(1 / 3), "new": None}
    assert found["unknown_words"]["new"] is found["median_size"]["new"] is None
    text = overlay(NETWORK.text, {"encoder": "transformer"})
    by_tokens = replace(NETWORK, text=text)
    found = drift(BEFORE, BEFORE, ["cat", "dog"], ["cat", "dog"], by_tokens)
    assert found["unknown_words"] == {"before": None, "new": None}
    silent = replace(NETWORK, inputs="image")
    assert drift(BEFORE, BEFORE, ["cat"], ["cat"], silent)["unknown_words"]["before"] is None
