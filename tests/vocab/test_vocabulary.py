"""The words of captions and their numbers, and the stage."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages import UserError
from stages.explain.word_effects import without
from stages.ingest import records
from stages.split import folds
from stages.vocab import vocabulary
from stages.vocab.__main__ import main
from stages.vocab.vocabulary import PADDING, UNKNOWN
from stages.words import words_of

CAPTIONS = ["A red bus.", "The buses, red!", "a RED dog", None, ""]
OPTIONS = {
    "normalize": "none",
    "drop_stop_words": True,
    "min_count": 1,
    "max_words": 10,
    "max_length": 3,
}


def build(**changes):
    return vocabulary.build(CAPTIONS, **(OPTIONS | changes))


def test_words_stand_by_frequency_then_by_name():
    assert build().words == ["red", "bus", "buses", "dog"]
    assert build(drop_stop_words=False).words == ["red", "a", "bus", "buses", "dog", "the"]


def test_rare_and_surplus_words_are_unknown():
    assert build(min_count=2).words == ["red"]
    assert build(max_words=2).words == ["red", "bus"]


def test_stemming_brings_forms_together():
    words = vocabulary.build(["two dogs", "a dog, running"], **OPTIONS | {"normalize": "stem"})
    assert words.words == ["dog", "run", "two"]
    assert words.encode(["dogs run"]).tolist() == [[2, 3, PADDING]]


def test_encoding_pads_cuts_and_marks_the_unknown():
    words = build()
    numbers = words.encode(["dog red", "cat", None, "red bus dog buses"])
    red, bus, _, dog = range(2, 6)
    assert numbers.tolist() == [
        [dog, red, PADDING],
        [UNKNOWN, PADDING, PADDING],
        [PADDING] * 3,
        [red, bus, dog],
    ]
    assert numbers.dtype == np.int64
    assert numbers.max() < len(words)


def test_what_is_written_reads_back_the_same(in_tmp: Path):
    words = build(normalize="stem")
    vocabulary.write(words)
    assert vocabulary.read() == words
    assert vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json(words)))) == words


def test_words_by_unicodes_rules_of_languages_without_blanks():
    pytest.importorskip("icu4py")
    captions = ["一个女人骑马。", "女人与马 2", "ผู้หญิงขี่ม้า", "A red Bus", None, "🐕 dog"]
    options = OPTIONS | {"max_words": 100}
    words = vocabulary.build(captions, **options, segmentation="unicode")
    assert {"女人", "骑马", "ขี่", "red", "bus", "dog"} <= {*words.words}
    assert not {"。", "2", "🐕", " "} & {*words.words}
    assert words.share_known(["女人"]) == 1 and words.share_known([None]) is None
    assert (words.encode(["女人骑马"])[0] > UNKNOWN).sum() == 2
    by_letters = vocabulary.build(captions, **options)
    assert by_letters.share_known(["女人骑马"]) == 0
    found = [(word.text, word.start) for word in words_of("她与女人骑马 Bus", "unicode")]
    assert found[-3:] == [("女人", 2), ("骑马", 4), ("bus", 7)]
    assert without("一个女人骑马", "女人", "unicode") == "一个骑马"


def test_without_icu_unicodes_rules_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "icu4py.breakers", None)
    with pytest.raises(UserError, match=r"vocab\.segmentation: unicode.*tagloom\[segmentation\]"):
        build(segmentation="unicode")


def test_only_runs_of_letters_need_no_word_in_the_file():
    words = build()
    assert "segmentation" not in vocabulary.to_json(words)
    other = replace(words, segmentation="unicode")
    assert vocabulary.to_json(other)["segmentation"] == "unicode"
    assert vocabulary.from_json(vocabulary.to_json(other)) == other


def test_only_training_captions_make_words(prepared: Path):
    table, parts = records.read(), folds.read()
    validation = parts.filter(pl.col("part") == "validation")["id"]
    spoken = pl.when(pl.col("id").is_in(validation.implode())).then(pl.lit("zebra zebra zebra"))
    spoilt = table.with_columns(caption=spoken.otherwise(pl.lit("one two two")))
    records.write(spoilt, records.read_label_names())
    main()
    assert vocabulary.read().words == ["two", "one"]
    metrics = json.loads(Path("metrics/vocab.json").read_text())
    assert metrics["words"] == 2
    assert metrics["validation"]["coverage"] == 0
    assert metrics["caption_length"] == {"p50": 3, "p90": 3, "p99": 3, "p100": 3}
    assert metrics["captions_cut"] == 0


def test_number_words_survive_the_stop_list(prepared: Path):
    assert {"one", "two", "three"} <= set(vocabulary.read().words)
