from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stages.ingest.decoder import decode
from stages.ingest.sources import Row
from stages.ingest.sources.digits import SIDE, WORDS, Options, rows


def photos(train: int, test: int, seed: int = 7) -> list[Row]:
    return list(rows(Path("raw"), Options(train=train, test=test, seed=seed)))


@pytest.fixture(scope="module")
def thousand() -> list[Row]:
    return photos(1000, 200)


def test_the_same_bytes_each_time(thousand: list[Row]) -> None:
    again = photos(1000, 200)
    assert [row.photo() for row in again] == [row.photo() for row in thousand]
    assert [(row.id, row.labels, row.caption) for row in again] == [
        (row.id, row.labels, row.caption) for row in thousand
    ]
    other = photos(1000, 200, seed=8)
    assert other[0].photo() != thousand[0].photo()


def test_a_photo_stays_when_more_are_asked_for(thousand: list[Row]) -> None:
    few = photos(10, 5)
    assert [row.photo() for row in few] == [
        row.photo() for row in thousand[:10] + thousand[1000:1005]
    ]


def test_subsets_and_ids(thousand: list[Row]) -> None:
    assert Counter(row.subset for row in thousand) == {"train": 1000, "test": 200}
    assert len({row.id for row in thousand}) == 1200
    assert thousand[1000].id == "test-00000"


def test_handwriting_of_test_never_appears_in_train(thousand: list[Row]) -> None:
    seen = {"train": set(), "test": set()}
    for row in thousand:
        (scans, _) = row.photo.args
        assert len(scans) == len(row.labels)
        seen[row.subset] |= {scan.tobytes() for scan in scans}
    assert len(seen["test"]) > 100
    assert not seen["train"] & seen["test"]


def test_labels_are_several_unbalanced_and_go_together(thousand: list[Row]) -> None:
    how_many = Counter(len(row.labels) for row in thousand)
    assert set(how_many) == {0, 1, 2, 3, 4}
    assert 0.04 < how_many[0] / 1200 < 0.12
    counts = Counter(label for row in thousand for label in row.labels)
    assert counts["0"] > 2 * counts["9"] > 0
    # 1 likes 4: together far more often than chance alone would have it.
    together = sum({"1", "4"} <= set(row.labels) for row in thousand)
    assert together > 1.5 * counts["1"] * counts["4"] / 1200


def test_captions_name_most_digits_and_are_wrong_at_times(thousand: list[Row]) -> None:
    named = wrong = shown = 0
    for row in thousand:
        in_caption = {
            str(WORDS.index(word))
            for word in row.caption.replace(",", " ").split()
            if word in WORDS
        }
        named += len(in_caption & set(row.labels))
        wrong += len(in_caption - set(row.labels))
        shown += len(row.labels)
    assert 0.6 < named / shown < 0.8
    assert 0.01 < wrong / shown < 0.08


def test_photos_can_be_decoded(thousand: list[Row]) -> None:
    photo = decode(thousand[3].photo(), 64)
    assert (photo.width, photo.height) == (SIDE, SIDE)
    assert np.ptp(photo.pixels) > 100  # there is ink on the paper
