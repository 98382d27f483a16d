"""Photos that came later, each delivery a folder laid out as the root is."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from stages import UserError
from stages.ingest import records
from stages.ingest.images import ImageStore

OPTIONS = {"train": "train.csv", "test": "test.csv", "photos": "data"}


def deliver(folder: Path, photo: Callable[..., bytes], seeds: list[int], subset: str) -> None:
    """A folder with a list of photos, ``7.jpg`` from seed 7, and the photos."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (folder / "data" / f"{seed}.jpg").write_bytes(photo(seed))
    if subset == "train":
        lines = ["ImageID,Labels,Caption", *(f"{seed}.jpg,{seed % 2},photo" for seed in seeds)]
    else:
        lines = ["ImageID,Caption", *(f"{seed}.jpg,photo" for seed in seeds)]
    (folder / f"{subset}.csv").write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture
def raw(in_tmp: Path, photo: Callable[..., bytes]) -> Path:
    """The root: three photos of train, two of test."""
    deliver(in_tmp / "raw", photo, [0, 1, 2], "train")
    deliver(in_tmp / "raw", photo, [3, 4], "test")
    return in_tmp / "raw"


def test_later_photos_come_after_earlier_ones(
    raw: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    ingest("kaggle-csv", OPTIONS)
    before, pixels = records.read(), ImageStore().gather(range(5))
    assert before["delivery"].to_list() == [0] * 5
    deliver(raw / "deliveries" / "2026-02", photo, [7], "test")  # no photo of train this time
    deliver(raw / "deliveries" / "2026-01", photo, [5, 6], "train")
    ingest("kaggle-csv", OPTIONS)
    table = records.read()
    assert table[:5].equals(before, null_equal=True)
    assert (ImageStore().gather(range(5)) == pixels).all()
    assert table[5:]["id"].to_list() == ["5.jpg", "6.jpg", "7.jpg"]
    assert table[5:]["subset"].to_list() == ["train", "train", "test"]
    assert table[5:]["delivery"].to_list() == [1, 1, 2]


def test_what_is_wrong_with_a_delivery_is_said_with_its_name(
    raw: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    late = raw / "deliveries" / "late"
    deliver(late, photo, [2, 5], "train")
    (late / "data" / "5.jpg").write_bytes(b"no photo")
    ingest("kaggle-csv", OPTIONS, max_rejected=0.5)
    text = Path("data/rejected.csv").read_text("utf-8")
    assert 'deliveries/late/train.csv,2,deliveries/late/data/2.jpg,"the id 2.jpg was used' in text
    assert "deliveries/late/train.csv,3,deliveries/late/data/5.jpg,not an image" in text


def test_a_delivery_that_is_not_whole(
    raw: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    deliver(raw / "deliveries" / ".being-copied", photo, [5], "train")
    (raw / "deliveries" / "notes.txt").write_text("whose photos these are")
    ingest("kaggle-csv", OPTIONS)
    assert len(records.read()) == 5
    (raw / "deliveries" / "empty").mkdir()
    with pytest.raises(UserError, match=r"the delivery raw/deliveries/empty lists no photo"):
        ingest("kaggle-csv", OPTIONS)


def test_deliveries_can_be_elsewhere_or_switched_off(
    raw: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    deliver(raw / "later" / "1", photo, [5], "train")
    ingest("kaggle-csv", OPTIONS, deliveries="later")
    assert len(records.read()) == 6
    shutil.move(raw / "later", raw / "deliveries")
    ingest("kaggle-csv", OPTIONS, deliveries=None)
    assert len(records.read()) == 5
    with pytest.raises(UserError, match=r"\.\./later is not below ingest\.root"):
        ingest("kaggle-csv", OPTIONS, deliveries="../later")


def test_photos_in_parquet(
    in_tmp: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    for folder, seeds in (("raw", (0, 1)), ("raw/deliveries/may", (2, 3))):
        names = [f"{seed}.jpg" if seed % 2 else None for seed in seeds]
        photos = [{"bytes": photo(seed, (20 + seed, 20)), "path": name}
                  for seed, name in zip(seeds, names, strict=True)]  # fmt: skip
        Path(folder).mkdir(parents=True)
        table = pl.DataFrame({"image": photos, "labels": [["cat"], ["dog"]]})
        table.write_parquet(Path(folder, "a.parquet"))
    ingest("table", {"file": "a.parquet", "image": "image", "id": None}, max_rejected=0)
    ids = ["a.parquet:1", "1.jpg", "deliveries/may/a.parquet:1", "3.jpg"]
    assert records.read()["id"].to_list() == ids
    assert records.read()["width"].to_list() == [20, 21, 22, 23]
    assert records.read()["delivery"].to_list() == [0, 0, 1, 1]


def test_a_source_that_makes_its_photos_takes_no_deliveries(
    raw: Path, photo: Callable[..., bytes], ingest: Callable[..., None]
) -> None:
    deliver(raw / "deliveries" / "1", photo, [5], "train")
    with pytest.raises(UserError, match=r"set ingest\.deliveries to null"):
        ingest("digits", {"train": 4, "test": 2})


def lay_out(source: str, folder: Path, photo: Callable[..., bytes], seeds: list[int]) -> None:
    """Two photos in ``folder``, as ``source`` has them."""
    contents = {f"{seed}.jpg": photo(seed) for seed in seeds}
    if source == "table":
        rows = [f"{name},cat" for name in contents]
        files = {"photos.csv": "\n".join(["id,labels", *rows]).encode()}
        files |= {f"photos/{name}": content for name, content in contents.items()}
    elif source == "folders":
        files = {f"photos/cat/{name}": content for name, content in contents.items()}
    else:
        images = [{"id": seed, "file_name": f"{seed}.jpg"} for seed in seeds]
        marked = [{"image_id": seed, "category_id": 1} for seed in seeds]
        categories = [{"id": 1, "name": "cat"}]
        lists = {"images": images, "annotations": marked, "categories": categories}
        files = {"all.json": json.dumps(lists).encode()}
        files |= {f"photos/{name}": content for name, content in contents.items()}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(("format", "of_folder"), [("zip", False), ("tar", True), ("gztar", False)])
@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("table", {}),
        ("folders", {"photos": "photos"}),
        ("coco-json", {"instances": "all.json", "photos": "photos", "captions": None,
                       "validation": None, "test": None}),
    ],
)  # fmt: skip
def test_a_delivery_that_is_an_archive(
    source: str,
    options: dict[str, str | None],
    format: str,
    of_folder: bool,
    in_tmp: Path,
    photo: Callable[..., bytes],
    ingest: Callable[..., None],
) -> None:
    deliveries = in_tmp / "raw" / "deliveries"
    lay_out(source, in_tmp / "raw", photo, [0, 1])
    lay_out(source, deliveries / "may", photo, [2, 3])
    lay_out(source, deliveries / "june", photo, [4, 5])
    ingest(source, options, max_rejected=0)
    expected = records.read()
    assert expected["delivery"].to_list() == [0, 0, 1, 1, 2, 2]
    folder = deliveries / "may"
    place, below = (deliveries, "may") if of_folder else (folder, ".")
    shutil.make_archive(str(folder), format, place, below)
    shutil.rmtree(folder)
    (deliveries / ".july.zip").write_bytes(b"half of a zip")
    ingest(source, options, max_rejected=0)
    assert records.read().equals(expected, null_equal=True)


def test_a_delivery_whose_archive_is_not_whole(raw: Path, ingest: Callable[..., None]) -> None:
    (raw / "deliveries").mkdir()
    (raw / "deliveries" / "may.zip").write_bytes(b"half of a zip")
    with pytest.raises(UserError, match=r"raw/deliveries/may\.zip cannot be unpacked"):
        ingest("kaggle-csv", OPTIONS)
    with zipfile.ZipFile(raw / "deliveries" / "may.zip", "w") as archive:
        archive.writestr("train.csv", "no header")
    with pytest.raises(UserError, match=r"^raw/deliveries/may\.zip/train\.csv: the header"):
        ingest("kaggle-csv", OPTIONS)
