"""A photo's file is missing: what of what is there would fit."""

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages import UserError
from stages.ingest import missing
from stages.ingest.missing import Hints
from stages.ingest.params import Ingest
from stages.params import read

MakeHints = Callable[..., Hints]
UNFETCHED = {"https://example.org/3.png": "example.org answers 500"}


@pytest.fixture
def hints(write_params: Callable[..., None]) -> MakeHints:
    """The hints for photos of ``raw``, by a source with the folder ``photos``."""
    for name in (
        "photos/0001.JPG",
        "photos/0002.png",
        "photos/0002.txt",
        "photos/Two Words.jpg",
        f"photos/{unicodedata.normalize('NFD', 'Käfer')}.jpg",
        "photos/deep/0003.jpg",
        "others/far/0004.jpg",
        "0005.jpg",
    ):
        path = Path("raw", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def make(source: str = "kaggle-csv", **options: Any) -> Hints:
        write_params(source, {"photos": "photos"} | options)
        return Hints(read(Ingest), UNFETCHED)

    return make


@pytest.mark.parametrize(
    ("photo", "hint"),
    [
        # no ending, another case, another ending
        ("photos/0001", "with .JPG at its end it is there"),
        ("photos/0001.jpg", "in other upper and lower case it is there"),
        ("photos/0002.jpg", "with .png for .jpg it is there"),
        ("photos/two words.jpg", "in other upper and lower case it is there"),
        # blanks
        ("photos/ 0002.png", "with other blanks it is there"),
        ("photos/0002.png ", "with other blanks it is there"),
        ("photos/TwoWords.jpg", "with other blanks it is there"),
        ("photos/Käfer.jpg", "in another form of Unicode it is there"),
        # \, a full path, another's full path, an address
        ("photos/deep\\0003.jpg", "with / for \\ it is there"),
        ("photos//home/me/raw/photos/0002.png", "in photos it is there"),
        ("photos/C:\\data\\deep\\0003.jpg", "with / for \\ and in photos/deep it is there"),
        ("photos/https://example.org/0002.png", "it is an address: download the photos"),
        ("photos/s3://bucket/0002.png", "it is an address"),
        # a folder named twice, a folder too few, another folder
        ("photos/photos/0002.png", "in photos it is there: set ingest.kaggle-csv.photos to ."),
        (
            "photos/0004.jpg",
            "in others/far it is there: set ingest.kaggle-csv.photos to others/far",
        ),
        ("photos/0005.jpg", "in ingest.root itself it is there: set ingest.kaggle-csv.photos to ."),
        ("photos/0003", "in photos/deep and with .jpg at its end it is there"),
    ],
)
def test_what_would_fit(hints: MakeHints, photo: str, hint: str) -> None:
    reason = hints().reason(photo, photo.removeprefix("photos/"))
    assert reason.startswith("the file is missing; ")
    assert reason.removeprefix("the file is missing; ").startswith(hint)


@pytest.mark.parametrize("photo", ["photos/0009.jpg", "photos/../secret.jpg"])
def test_nothing_fits(hints: MakeHints, photo: str) -> None:
    assert hints().reason(photo, photo) == "the file is missing"


def test_what_could_not_be_fetched(hints: MakeHints) -> None:
    (address, reason), *_ = UNFETCHED.items()
    assert hints().reason(address, address) == reason


def test_a_folder_that_is_missing(hints: MakeHints) -> None:
    reason = hints(photos="fotos").reason("fotos/0009.jpg", "0009.jpg")
    assert reason == "the file is missing, and so is its folder, fotos"
    reason = hints(photos="fotos").reason("fotos/0002.png", "0002.png")
    assert reason.endswith("in photos it is there: set ingest.kaggle-csv.photos to photos")


def test_a_link_to_nothing(hints: MakeHints) -> None:
    Path("raw/photos/7.jpg").symlink_to("../../cache/ab/cd")
    assert "dvc checkout" in hints().reason("photos/7.jpg", "7.jpg")


def test_a_pattern_that_would_fit(hints: MakeHints) -> None:
    of_lists = hints("class-files", pattern="{id}.jpg")
    reason = of_lists.reason("photos/0001.jpg", "0001")
    assert reason.endswith("it is there: set ingest.class-files.pattern to {id}.JPG")


def test_each_folder_is_listed_once_and_searches_end(
    hints: MakeHints, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = []
    real = missing.os.scandir
    monkeypatch.setattr(missing.os, "scandir", lambda path: listed.append(path) or real(path))
    found = hints()
    for number in range(100):
        found.reason(f"photos/none-{number}.jpg", "")
    of_root = [str(each) for each in listed if str(each).startswith("raw")]
    # Once to know them, once for their files.
    assert len(of_root) <= 2 * len(set(of_root)) < 20
    # After so many that are nowhere, no other folder is looked at; its own is.
    assert found.reason("photos/0004.jpg", "0004.jpg") == "the file is missing"
    assert "is there" in found.reason("photos/0001", "0001")


def test_the_stage_says_what_would_fit(hints: MakeHints, ingest: Callable[..., None]) -> None:
    Path("raw/train.csv").write_text("ImageID,Labels\n0001,a\n0002,b\n0009,b\n")
    with pytest.raises(UserError) as error:
        ingest("kaggle-csv", {"photos": "photos", "test": None}, max_rejected=1)
    assert "3 of 3 photos" in str(error.value)
    assert "as for photos/0001: the file is missing; with .JPG at its end it is" in str(error.value)
