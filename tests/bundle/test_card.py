"""The model card says what was computed, whatever labels are called."""

from pathlib import Path

import pytest

from stages.bundle import card
from stages.bundle.bundle import CARD, read_bundle
from stages.markdown import plain
from tests import factories

HOSTILE = [
    "a|b",
    "<script>alert(1)</script>",
    "[x](http://e.org)",
    "`c`\n# d",
    "www.e.org",
    "__e__",
]


def figures(f1: float, count: int) -> dict[str, float | None]:
    names = ("precision", "recall", "f1", "low", "high", "average_precision")
    return {"count": count, **dict.fromkeys(names, f1)} | {"average_precision": None}


def test_the_bundles_own_card_names_labels_metrics_and_commit(bundle: Path):
    read = read_bundle(bundle)
    text = (bundle / CARD).read_text("utf-8")
    assert "{" not in text.partition("```")[0]
    f1 = read.metrics.validation.overall["micro_f1"]
    measured = read.metrics.validation
    beside = [each["micro_f1"] for each in (measured.without_model, measured.captions_alone)]
    assert f1.low is None  # of so few photos
    row = f"| micro F1 | {f1.value:.3f} | – {plain(f1.reason)} |"
    assert row + "".join(f" {figure:.3f} |" for figure in beside) in text
    for label in read.labels:
        assert f"\n| {label} | {read.metrics.validation.labels[label].count} |" in text
    assert "32 × 32 pixels" in text
    assert f"micro-F1 {read.metrics.without_captions.micro_f1:.3f} instead of" in text
    assert read.provenance.data.records_sha256 in text
    assert read.provenance.commit is None  # made in a folder without Git
    assert "Made without Git" in text


def test_labels_are_text_and_no_markup():
    described = factories.description("image", labels=len(HOSTILE))
    described = described.__class__(**{**vars(described), "labels": HOSTILE})
    weights = {"precision": "float32"}
    metrics = {
        "validation": {
            "photos": 9,
            "overall": {},
            "without_model": {},
            "captions_alone": None,
            "never_given": [],
            "labels": dict.fromkeys(HOSTILE, figures(0.4, 7)),
        },
        "calibration": {when: {"expected_calibration_error": 0.01} for when in ("before", "after")},
        "weights": weights,
        "without_captions": None,
        "onnx": None,
    }
    provenance = {
        "commit": "0" * 40, "changed_since_commit": True, "packages": {}, "parameters": {},
        "hardware": "CPU", "training_seconds": 60.0,
        "data": {"training": 5, "validation": 9, "captions": 0, "records_sha256": "1" * 64},
    }  # fmt: skip
    decision = {"thresholds": [0.5] * len(HOSTILE), "temperature": 1.0}
    text = card.render(described, decision, metrics, provenance=provenance, parameters=7)
    rows = [line for line in text.splitlines() if line.startswith("| ") and "| 7 |" in line]
    assert len(rows) == len(HOSTILE)
    assert r"| a\|b |" in rows[0]
    assert all(row.replace(r"\|", "").count("|") == 9 for row in rows)
    assert "<script" not in text
    assert "](" not in text
    assert "www.e" not in text
    assert "\n# d" not in text
    assert "changes to it that were not committed" in text


def test_limits_are_what_the_figures_say():
    described = factories.description("image", labels=3, crop=48)
    labels = {
        "good": figures(0.9, 400),
        "rare": figures(0.9, 12),
        "weak": figures(0.3, 400),
        "nowhere": dict.fromkeys(figures(0.0, 0)) | {"count": 0},
    }
    validation = {"labels": labels, "never_given": ["nowhere"]}
    metrics = {"validation": validation, "without_captions": None}
    said = card.limits(described, metrics)
    assert said[0] == "F1 below 0.5, not to be relied on: weak."
    assert said[1].startswith("Fewer than 50 validation photos") and said[1].endswith(
        ": rare, nowhere."
    )
    assert said[2] == "Given to no validation photo: nowhere."
    assert "of which the centre 48 count" in " ".join(said)
    assert set(card.limits(described, metrics, 0.012)) - {*said} == {
        "Of the words of validation captions it knows 1.2%: captions say little."
    }


@pytest.mark.parametrize(("text", "expected"), [("a, b-c", "a, b-c"), (" a\n b ", "a b")])
def test_plain_text_stays_as_it_is(text: str, expected: str):
    assert plain(text) == expected
