"""The page of a retraining: of how many photos a figure is, where not all labels are known."""

from pathlib import Path
from typing import Any

import pytest

from experiments.registry import Version
from experiments.verdict_page import page
from stages.markdown import plain
from tests.toy import Toy

F1 = {"value": 0.5, "low": 0.4, "high": 0.6}
SIDES = {"champion": F1, "challenger": F1}
DRIFT = {
    "photos": {"before": 20, "new": 10},
    "label_rates": {"cat": {"before": 0.25, "new": 0.5}, "dog": {"before": 0.1, "new": None}},
    "unknown_words": {"before": 0.5, "new": 0.125},
    "median_size": {"before": [40, 30], "new": [80, 60]},
    "new_labels": [],
    "gone_labels": [],
}


def lines(
    folder: Path, labels: dict[str, Any], drift: dict[str, Any], name: str = "first"
) -> list[str]:
    toy = Toy(folder)
    toy.git("init", "--quiet")
    toy.commit("first")
    rev = toy.git("rev-parse", "HEAD")
    version = Version("v0.0.1", rev, name)
    figures = {
        "rows": 9,
        **{who: {"micro_f1": F1} for who in SIDES},
        "labels": {label: SIDES | counts for label, counts in labels.items()},
        "drift": DRIFT | drift,
    }
    return page(folder, "new", name, figures, version, rev, version, [name]).splitlines()


def test_where_all_is_known_nothing_is_said_of_it(tmp_path: Path):
    text = lines(tmp_path, {"cat": {"count": 3}}, {})
    assert any(line.startswith("| cat | 3 | 0.500 (") for line in text)
    assert "| rate of cat | 25.0% | 50.0% |" in text
    assert "| rate of dog | 10.0% |  |" in text


def test_a_label_that_no_photo_carries_has_no_f1(tmp_path: Path):
    text = lines(tmp_path, {"cat": {"count": 0, **dict.fromkeys(SIDES)}}, {})
    assert "| cat | 0 | – | – |  |  |" in text


def test_of_how_many_photos_a_label_is_known(tmp_path: Path):
    known = {"cat": {"before": 16, "new": 1000}, "dog": {"before": 20, "new": 0}}
    text = lines(tmp_path, {"cat": {"count": 3, "known": 7}}, {"label_known": known})
    assert any(line.startswith("| cat | 3 of 7 | 0.500 (") for line in text)
    assert "| rate of cat | 25.0% of 16 | 50.0% of 1,000 |" in text
    assert "| rate of dog | 10.0% of 20 |  |" in text
    assert "| words that the model in use does not know | 50.0% | 12.5% |" in text


@pytest.mark.parametrize(
    "name",
    [
        "a|b",
        "<img src=x onerror=alert(1)>",
        "[x](http://e.org)",
        "![](http://e.org/x.png)",
        "`c`",
        "**d**",
        "\x1b[2J",
        "www.e.org",
    ],
)
def test_names_are_text_and_no_markup(tmp_path: Path, name: str):
    drift = {"label_rates": {name: {"before": 0.5, "new": 0.5}}, "new_labels": [name]}
    drift["gone_labels"] = [name]
    text = "\n".join(lines(tmp_path, {name: {"count": 3}}, drift, name))
    assert name not in text
    assert text.count(plain(name)) == 7
    assert "\x1b" not in text
