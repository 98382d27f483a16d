"""The figures of tiny tables, counted by hand."""

from math import log2

import numpy as np
import polars as pl
import pytest

from stages.eda import statistics

NAMES = ["cat", "dog", "car"]


def lists(*labels: str | None) -> pl.Series:
    """A List(String) series: each text's words; None stays null."""
    return pl.Series(
        [None if text is None else text.split() for text in labels], dtype=pl.List(pl.String)
    )


@pytest.fixture
def sets() -> pl.DataFrame:
    return statistics.label_sets(
        lists("cat", "cat", "cat", "cat dog", "cat dog", "", "cat dog car")
    )


def test_label_sets_are_counted_and_none_is_one_of_them(sets):
    assert sets["labels"].to_list() == [["cat"], ["cat", "dog"], [], ["cat", "dog", "car"]]
    assert sets["photos"].to_list() == [3, 2, 1, 1]


def test_cooccurrence_counts_photos_with_both(sets):
    expected = [[6, 3, 1], [3, 3, 1], [1, 1, 1]]
    assert statistics.cooccurrence(sets, NAMES).tolist() == expected
    turned = statistics.cooccurrence(sets, NAMES[::-1])
    assert turned.tolist() == np.flip(expected).tolist()


def test_per_label_has_rate_alone_total_and_ratio(sets):
    table = statistics.per_label(sets, [*NAMES, "unused"])
    assert table.rows() == [
        ("cat", 6, pytest.approx(6 / 7), 3, 4, pytest.approx(4 / 6)),
        ("dog", 3, pytest.approx(3 / 7), 0, 4, pytest.approx(4 / 3)),
        ("car", 1, pytest.approx(1 / 7), 0, 2, 2),
        ("unused", 0, 0, 0, 0, 0),
    ]


def test_carriers_and_rates_are_of_photos_whose_label_is_known():
    labels, unknown = (
        lists("cat", "cat dog", "", "dog", "cat"),
        lists("dog car", None, "cat", "cat", None),
    )
    known = statistics.carriers(statistics.known_sets(labels, unknown), NAMES)
    assert known.tolist() == [[3, 2, 2], [1, 2, 2], [0, 0, 0], [3, 4, 4]]
    sets = statistics.label_sets(labels)
    assert statistics.carriers(sets, NAMES).tolist() == [[3, 3, 3], [2, 2, 2], [0, 0, 0], [5, 5, 5]]
    table = statistics.per_label(sets, NAMES, known[-1])
    assert table.select("label", "photos", "rate", "known").rows() == [
        ("cat", 3, 1.0, 3),
        ("dog", 2, 0.5, 4),
        ("car", 0, 0.0, 4),
    ]


def test_labels_per_photo_leaves_no_number_out():
    sets = statistics.label_sets(lists("cat", "cat dog car", "cat"))
    assert statistics.labels_per_photo(sets).rows() == [(0, 0), (1, 2), (2, 0), (3, 1)]


def test_no_labelled_photos_give_empty_tables():
    sets = statistics.label_sets(lists())
    assert statistics.labels_per_photo(sets).is_empty()
    assert statistics.per_label(sets, ["cat"]).row(0) == ("cat", 0, 0, 0, 0, 0)
    assert statistics.cooccurrence(sets, []).shape == (0, 0)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1", "2", "4", "7"], (3, [3, 5, 6])),
        (["3", "1", "2"], (0, [])),
        (["1", "cat"], (0, [])),
        ([], (0, [])),
    ],
)
def test_missing_ids(names, expected):
    assert statistics.missing_ids(names) == expected


def test_a_wide_range_of_ids_is_counted_but_not_listed():
    count, listed = statistics.missing_ids(["1", "2000000000"])
    assert count == 1_999_999_998
    assert listed == list(range(2, 2 + statistics.MOST_MISSING))


def test_sizes_start_with_the_most_frequent():
    photos = pl.DataFrame({"width": [4, 3, 3], "height": [3, 4, 4]})
    assert statistics.sizes(photos).rows() == [(3, 4, 2), (4, 3, 1)]


def test_caption_lengths_count_each_subset():
    lengths = statistics.caption_lengths(
        lists("a bus", None, "bus", "a bus"), pl.Series(["train", "train", "test", "test"])
    )
    assert lengths.columns == ["words", "captions", "train", "test"]
    assert lengths.rows() == [(0, 0, 0, 0), (1, 1, 0, 1), (2, 2, 1, 1)]


def test_no_captions_give_empty_tables():
    words = pl.Series([None, None], dtype=pl.List(pl.String))
    assert statistics.caption_lengths(words, pl.Series(["train", "test"])).is_empty()
    counts = statistics.word_counts(lists("cat", "dog"), words)
    assert counts.is_empty()
    assert statistics.telling_words(counts, NAMES, 3).is_empty()


def word_counts() -> pl.DataFrame:
    """8 captions: «whiskers» stands in 6 of the 7 of cats, «sofa» in all."""
    labels = lists(*["cat"] * 5, "cat dog", "cat", "dog")
    words = lists(
        *["whiskers the sofa"] * 4, "whiskers whiskers sofa", "whiskers sofa", "s sofa", "sofa"
    )
    return statistics.word_counts(labels, words)


def test_words_count_once_a_caption_and_stop_words_do_not():
    counts = word_counts().sort("label", "word")
    assert counts.select("label", "word", "captions", "share").rows() == [
        ("cat", "sofa", 7, 1.0),
        ("cat", "whiskers", 6, pytest.approx(6 / 7)),
        ("dog", "sofa", 2, 1.0),
        ("dog", "whiskers", 1, 0.5),
    ]


def test_pmi_is_the_formula_of_church_and_hanks():
    counts = {(label, word): row for label, word, *row in word_counts().rows()}
    joint, cat, whiskers = 6 / 8, 7 / 8, 6 / 8
    pmi = log2(joint / (cat * whiskers))
    assert counts["cat", "whiskers"][2:] == pytest.approx([pmi, pmi / -log2(joint)])
    assert counts["cat", "sofa"][2:] == pytest.approx([0, 0])
    assert counts["dog", "whiskers"][2] == pytest.approx(log2((1 / 8) / (2 / 8 * 6 / 8)))


def test_a_word_on_every_caption_of_the_only_label_says_nothing():
    counts = statistics.word_counts(lists("cat", "cat"), lists("fur", "fur"))
    assert counts.row(0) == ("cat", "fur", 2, 1.0, 0.0, 0.0)


def test_words_seen_too_seldom_or_by_chance_do_not_tell():
    table = statistics.telling_words(word_counts(), NAMES, 9)
    assert table.select("label", "word").rows() == [("cat", "whiskers")]
    fewer = word_counts().with_columns(pl.col("captions") - 1)
    assert statistics.telling_words(fewer, NAMES, 9).is_empty()


def test_top_words_come_label_by_label_in_the_order_given():
    top = statistics.top_words(word_counts(), ["dog", "cat"], 1)
    assert top.select("label", "word", "captions").rows() == [
        ("dog", "sofa", 2),
        ("cat", "sofa", 7),
    ]


def test_alone_takes_photos_with_one_label_each_file_once():
    photos = pl.DataFrame(
        {
            "labels": lists("dog", "cat dog", "cat", "cat", "cat", ""),
            "sha256": ["f", "a", "c", "b", "b", "a"],
            "image": [0, 1, 2, 3, 4, 5],
        }
    )
    table = statistics.alone(photos, NAMES, 2)
    assert table.select("label", "image").rows() == [("cat", 3), ("cat", 2), ("dog", 0)]
    assert statistics.alone(photos, NAMES, 1)["image"].to_list() == [3, 0]
