"""Labels renamed, merged, ignored and meant as none, from whatever source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from stages import UserError
from stages.ingest.label_rules import LabelRules
from stages.ingest.params import Ingest
from stages.params import check
from tests.conftest import ROOT

INGEST: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")["ingest"]


def rules(**keys: Any) -> LabelRules:
    return LabelRules(check(Ingest, INGEST | keys, "ingest"))


def applied(rule: LabelRules, names: list[str] | None, unknown: tuple[str, ...] = ()) -> Any:
    has, unsure = rule(None if names is None else tuple(names), unknown)
    return None if has is None else list(has), unsure


def test_without_rules_labels_stay_as_they_are():
    assert applied(rules(), ["b", "a"], ("c",)) == (["b", "a"], ("c",))
    assert applied(rules(), None) == (None, ())


def test_two_labels_become_one():
    rule = rules(rename={"kitten": "cat", "tabby": "cat", "dog": "hound"})
    assert applied(rule, ["kitten", "tabby", "eel"]) == (["cat", "eel"], ())
    assert applied(rule, ["kitten"], ("tabby", "dog")) == (["cat"], ("hound",))
    assert applied(rule, [], ("tabby", "kitten")) == ([], ("cat",))
    assert applied(rule, None) == (None, ())


def test_names_are_swapped():
    assert applied(rules(rename={"cat": "dog", "dog": "cat"}), ["dog"], ("cat",)) == (
        ["cat"],
        ("dog",),
    )


def test_a_photo_that_has_only_ignored_labels_is_known_to_have_none():
    rule = rules(ignore=["junk"], rename={"rubbish": "junk"})
    assert applied(rule, ["rubbish"]) == ([], ())
    assert applied(rule, ["cat", "junk"], ("rubbish", "dog")) == (["cat"], ("dog",))
    assert applied(rule, None) == (None, ())


def test_all_but_the_chosen_are_ignored():
    rule = rules(labels=["dog", "cat"], ignore="others")
    assert applied(rule, ["eel", "cat"], ("dog", "bee")) == (["cat"], ("dog",))
    assert applied(rule, ["eel"]) == ([], ())


def test_a_name_that_means_none():
    rule = rules(none=["No Finding"])
    assert applied(rule, ["No Finding"], ("Edema",)) == ([], ())
    assert applied(rule, [], ("No Finding", "Edema")) == ([], ("Edema",))
    assert applied(rule, ["Edema"]) == (["Edema"], ())


def test_rules_that_were_about_nothing():
    rule = rules(none=["No Finding"], ignore=["junk", "dust"], rename={"kat": "cat", "mug": "dust"})
    rule(("mug",))
    rule((), ("junk",))
    assert next(rule.warnings()).endswith(": No Finding, kat")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"ignore": "others"}, "ingest.labels, which is null"),
        ({"ignore": "other"}, "ingest.ignore"),
        ({"ignore": []}, "ingest.ignore"),
        ({"labels": ["cat"], "ignore": ["cat"]}, "ingest.ignore both name 'cat'"),
        ({"labels": ["cat"], "none": ["cat"]}, "ingest.none both name 'cat'"),
        ({"labels": ["cat"], "rename": {"cat": "dog"}}, "ingest.rename gives 'cat'"),
        ({"rename": {"cat": ""}}, "ingest.rename"),
        ({"rename": {"cat": "a|b"}}, "ingest.rename"),
        ({"none": ["a", "a "]}, "ingest.none names 'a' twice"),
        ({"rename": ["cat"]}, "ingest.rename"),
    ],
)
def test_rules_that_do_not_agree(keys: dict[str, Any], message: str):
    with pytest.raises(UserError, match=message):
        rules(**keys)


def test_rules_hold_for_rows_unknown_labels_and_corrections(
    in_tmp: Path,
    ingest: Callable[..., None],
    photo: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
):
    (in_tmp / "raw" / "photos").mkdir(parents=True)
    for number in range(4):
        (in_tmp / "raw" / "photos" / f"{number}.jpg").write_bytes(photo(number))
    table = """id,kitten,tabby,junk,No Finding,eel
0.jpg,1,0,0,0,0
1.jpg,0,-1,1,0,0
2.jpg,0,-1,0,1,-1
3.jpg,0,0,1,0,1
"""
    (in_tmp / "raw" / "photos.csv").write_text(table)
    Path("data/corrections").mkdir(parents=True)
    Path("data/corrections/a.csv").write_text("id,labels\n3.jpg,tabby|junk\n")
    ingest(
        "table",
        {"labels": None, "unknown": [-1]},
        labels=["eel", "cat"],
        rename={"kitten": "cat", "tabby": "cat"},
        ignore=["junk", "jnuk"],
        none=["No Finding"],
        max_rejected=0,
    )
    records = pl.read_parquet("data/records.parquet")
    assert records["labels"].to_list() == [["cat"], [], [], ["cat"]]
    assert records["unknown"].to_list() == [None, ["cat"], None, None]
    out = capsys.readouterr().out
    assert "no photo has: jnuk" in out
    assert "1 corrections applied" in out
