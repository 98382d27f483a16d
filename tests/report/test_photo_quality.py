"""Photos that something is wrong with, made so, among those that are well."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageFilter

from stages.files import write_json
from stages.ingest import records
from stages.ingest.decoder import decode
from stages.ingest.images import FIT, ImageStore
from stages.report import photo_quality
from stages.report.photo_quality import DUPLICATES, ODD, duplicates, measure, measures, odd_photos
from stages.split import folds

SIDE = 48


def textured(seed: int) -> np.ndarray:
    """A sharp photo of patches, from black to white."""
    patches = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    image = Image.fromarray(patches).resize((SIDE, SIDE), Image.Resampling.NEAREST)
    return np.asarray(image)


def blurred(photo: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(6)))


def png(photo: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    return stream.getvalue()


def table(**columns: list) -> pl.DataFrame:
    """Records of train photos with these columns; they differ where nothing is said of them."""
    count = len(next(iter(columns.values())))
    numbers = list(range(count))
    same = {
        "id": [f"{number}.jpg" for number in numbers],
        "subset": ["train"] * count,
        "labels": [["cat"]] * count,
        "caption": ["a cat"] * count,
        "width": [60] * count,
        "height": [40] * count,
        "sha256": [f"{number:064x}" for number in numbers],
        "dhash": numbers,
        "image": numbers,
        "delivery": [0] * count,
    }
    further = {name: [None] * count for name in records.OPTIONAL}
    return pl.DataFrame(same | further | columns, {**records.SCHEMA, **records.OPTIONAL})


def parts(table: pl.DataFrame, validates: set[int] = frozenset()) -> pl.DataFrame:
    rows = table.with_row_index().filter(
        pl.col("subset") == "train", pl.col("labels").is_not_null()
    )
    part = ["validation" if row in validates else "train" for row in rows["index"]]
    return pl.DataFrame({"id": rows["id"], "fold": [0] * len(rows), "part": part}, folds.SCHEMA)


def store(folder: Path, photos: list[np.ndarray]) -> ImageStore:
    np.save(folder / "00000.npy", np.stack(photos))
    return ImageStore(folder)


def test_the_same_photo_with_different_labels():
    labels = [["cat"], ["cat", "dog"], ["cat"], ["cat"], [], ["dog"], None, ["owl"], ["owl"]]
    hashes = [1, 1, 2, 2, 3, 3, 3, 4, 5]
    shas = [*"abcdefgh", "h"]  # the last two are the same file
    known = table(labels=labels, dhash=hashes, sha256=shas)
    same = duplicates(known, parts(known))
    assert same.schema == DUPLICATES
    groups = same.group_by("group", maintain_order=True).agg("id").get_column("id").to_list()
    assert sorted(groups) == [["0.jpg", "1.jpg"], ["4.jpg", "5.jpg", "6.jpg"]]
    assert same["why"].unique().to_list() == ["different labels"]
    assert same.filter(id="6.jpg")["part"].to_list() == [None]
    assert same["labels"].to_list() == [labels[row] for row in same["image"]]


def test_what_is_not_known_of_a_photo_is_not_different():
    labels = [["cat"], ["cat", "dog"], ["cat"], ["dog"], ["cat"], ["cat", "dog"], []]
    unknown = [["dog"], None, ["dog"], ["cat"], None, ["owl"], ["cat", "dog"]]
    known = table(labels=labels, unknown=unknown, dhash=[1, 1, 2, 2, 3, 3, 3])
    assert duplicates(known, parts(known)).select("id", "why").rows() == [
        (f"{row}.jpg", "different labels")
        for row in (4, 5, 6)  # only there one denies the dog
    ]


def test_the_same_photo_on_both_sides_of_the_split():
    hashes = [1, 1, 2, 2, 3, 3]
    subsets = ["train", "test", "train", "train", "train", "test"]
    labels = [["cat"], None, ["cat"], ["cat"], ["dog"], ["owl"]]
    known = table(dhash=hashes, subset=subsets, labels=labels)
    same = duplicates(known, parts(known, {3}))
    assert same.select("id", "part", "why").rows() == [
        ("0.jpg", "train", "in test and train"),
        ("1.jpg", "test", "in test and train"),
        ("2.jpg", "train", "in train and validation"),
        ("3.jpg", "validation", "in train and validation"),
        ("4.jpg", "train", "different labels, in test and train"),
        ("5.jpg", "test", "different labels, in test and train"),
    ]


def test_photos_that_differ_and_photos_too_plain_to_compare_are_no_duplicates():
    plain = table(dhash=[None, None, None, 7], labels=[["a"], ["b"], [], ["c"]])
    assert duplicates(plain, parts(plain)).is_empty()
    nothing = table(id=[])
    assert duplicates(nothing, parts(nothing)).schema == DUPLICATES


@pytest.mark.parametrize("chunk", [64, 7])
def test_odd_photos_are_found(tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photo_quality, "CHUNK", chunk)
    photos = [textured(seed) for seed in range(40)]
    photos[3], photos[4] = photos[3] // 4, photos[4] // 5
    photos[11] = 244 + photos[11] // 32
    photos[20], photos[21] = blurred(photos[20]), np.full_like(photos[21], 128)
    sizes = {"width": [60] * 38 + [300, 20], "height": [40] * 38 + [90, 100]}
    odd = odd_photos(table(**sizes), store(tmp_path, photos))
    assert odd.schema == ODD
    assert odd.select("id", "measure").rows() == [
        ("4.jpg", "dark"),
        ("3.jpg", "dark"),
        ("11.jpg", "bright"),
        ("21.jpg", "sharpness"),
        ("20.jpg", "sharpness"),
        ("39.jpg", "shape"),
        ("38.jpg", "shape"),
    ]
    values = dict(odd.select("id", "value").iter_rows())
    assert values["4.jpg"] == pytest.approx(0.2, abs=0.03)
    assert (values["39.jpg"], values["38.jpg"]) == (0.2, 0.3)
    assert odd["why"][-1] == "the short side is 0.3 of the long one"


def test_photos_like_all_others_are_not_odd(tmp_path: Path):
    photos = [textured(seed) for seed in range(8)]
    rows = list(range(8)) * 3
    ids = [str(number) for number in range(24)]
    assert odd_photos(table(id=ids, image=rows), store(tmp_path, photos)).is_empty()
    assert odd_photos(table(id=[]), ImageStore(tmp_path)).schema == ODD


def test_bars_beside_a_photo_are_none_of_it(tmp_path: Path):
    night, noon = np.full((20, 40, 3), 20, np.uint8), np.full((20, 40, 3), 250, np.uint8)
    photos = [decode(png(photo), SIDE, fit="pad").pixels for photo in (night, noon)]
    padded = store(tmp_path, [*photos, *map(textured, range(8))])
    write_json(tmp_path / FIT, "pad")
    odd = odd_photos(table(width=[40] * 2 + [9] * 8, height=[20] * 2 + [9] * 8), padded)
    assert odd.select("image", "measure").rows()[:2] == [(0, "dark"), (1, "bright")]
    # So narrow that the Laplacian would have no room.
    assert measures(table(width=[999], height=[1]), padded)["dark"].item() > 0


def test_what_is_measured():
    photo = textured(0)
    dark, bright, sharpness = measure(photo)
    assert 0 <= bright < 0.2
    assert 0.8 < dark <= 1
    assert measure(np.full_like(photo, 255))[:2] == (1, 1)
    assert measure(np.zeros_like(photo))[:2] == (0, 0)
    assert measure(blurred(photo))[2] < sharpness / 10
    # Contrast is not sharpness: a pale photo is as sharp.
    assert measure(128 + photo // 8)[2] == pytest.approx(measure(photo // 4)[2], rel=0.1)
