import csv
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from stages import UserError
from stages.image_formats import register_heif
from stages.ingest import photos, records, spool, workers
from stages.ingest.decoder import decode
from stages.ingest.form import Form
from stages.ingest.images import ImageStore
from stages.ingest.listing import unescaped
from stages.ingest.sources import digits, kaggle_csv

ROOT = Path(__file__).parents[2]
OUTS = (
    *("data/records.parquet", "data/images", "data/rejected.csv"),
    *("metrics/ingest.json", "metrics/ingest/labels.csv"),
)


def sums() -> dict[str, str]:
    """SHA-256 of everything the stage has written."""
    return {
        str(file): hashlib.sha256(file.read_bytes()).hexdigest()
        for out in OUTS
        for file in ([Path(out)] if Path(out).is_file() else sorted(Path(out).iterdir()))
    }


def rejected() -> dict[str, str]:
    with Path("data/rejected.csv").open(newline="") as file:
        return {row["photo"] or row["row"]: row["reason"] for row in csv.DictReader(file)}


def metrics() -> dict:
    return json.loads(Path("metrics/ingest.json").read_text())


@pytest.fixture
def folder(in_tmp: Path, photo: Callable[..., bytes]) -> Path:
    """Twenty photos, two of them alike, in ``raw`` as kaggle-csv has them."""
    (in_tmp / "raw" / "data").mkdir(parents=True)
    for number in range(20):
        (in_tmp / "raw" / "data" / f"{number}.jpg").write_bytes(photo(max(number, 1)))
    list_photos(range(20))
    return in_tmp / "raw"


def list_photos(numbers: object, extra: str = "") -> None:
    lines = [f'{number}.jpg,{number % 3} 10,"photo "{number}""' for number in numbers]
    Path("raw/train.csv").write_text("\n".join(["ImageID,Labels,Caption", *lines, extra]))


def run_stage() -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stages.ingest"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_the_stage_writes(folder: Path, ingest: Callable[..., None]) -> None:
    (folder / "test.csv").write_text('ImageID,Caption\ntest/a.png,"seen &quot;here&#34;"\n')
    (folder / "data" / "test").mkdir()
    Image.new("L", (30, 50), 77).save(folder / "data" / "test" / "a.png")
    ingest("kaggle-csv")
    table = records.read()
    assert len(table) == len(ImageStore()) == 21
    assert table["image"].to_list() == list(range(21))
    assert table.row(7, named=True)["labels"] == ["1", "10"]
    assert table.row(7, named=True)["caption"] == 'photo "7"'
    last = table.row(20, named=True)
    assert (last["id"], last["subset"], last["labels"]) == ("test/a.png", "test", None)
    assert (last["width"], last["height"], last["caption"]) == (30, 50, 'seen "here"')
    assert (ImageStore().gather(np.array([20])) == 77).all()
    assert records.read_label_names() == ["0", "1", "2", "10"]
    assert rejected() == {}
    assert metrics() == {
        "photos": {"train": 20, "test": 1},
        "photos_of_narrow_range": 0,
        "photos_beyond_range": 0,
        "deliveries": 0,
        "labels": 4,
        "photos_with_known_labels": 20,
        "photos_with_partly_known_labels": 0,
        "photos_with_unknown_labels": 1,
        "photos_without_label": 0,
        "photos_with_caption": 21,
        "photos_identical_to_another": 1,
        "rejected": 0,
        "corrections": {"applied": 0, "changed": 0, "set_aside": 0},
        "label_warnings": 1,
    }


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("fish &amp; chips &lt;3 &#x20AC;", "fish & chips <3 €"),
        ("AT&T, ?a=1&copy=2; R & B", "AT&T, ?a=1&copy=2; R & B"),
        ("&nosuch; &amp;amp; &#xD800;", "&nosuch; &amp; \ufffd"),
    ],
)
def test_entities_in_captions_are_characters(caption: str, text: str) -> None:
    assert unescaped(caption) == text


def test_labels_are_in_the_order_that_is_asked_for(
    folder: Path, ingest: Callable[..., None]
) -> None:
    ingest("kaggle-csv", {"test": None}, labels=["unused", "10", "2", "1", "0"])
    assert records.read_label_names() == ["unused", "10", "2", "1", "0"]
    assert records.read()["labels"][1].to_list() == ["10", "1"]


def test_photos_without_any_label(folder: Path, ingest: Callable[..., None]) -> None:
    Path("raw/train.csv").write_text("ImageID,Labels\n0.jpg,\n1.jpg,\n")
    ingest("kaggle-csv", {"test": None})
    assert records.read()["labels"].to_list() == [[], []]
    assert records.read_label_names() == []


def test_unknown_labels_groups_times_and_parts_are_carried(
    folder: Path, ingest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels are 0, 1, 2 and 10."""
    shot = datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1)))
    said = {
        "1.jpg": {"labels": ["1"], "unknown": ["10", "0", "never a photo's"]},
        "2.jpg": {"labels": [], "unknown": ["0", "1", "2", "10"]},
        "3.jpg": {"group": "patient 7", "time": shot, "part": "validation"},
        "4.jpg": {"time": datetime(2026, 1, 2)},
    }
    listed = kaggle_csv.rows
    monkeypatch.setattr(
        kaggle_csv,
        "rows",
        lambda *arguments: (row._replace(**said.get(row.id, {})) for row in listed(*arguments)),
    )
    ingest("kaggle-csv", {"test": None})
    columns = ["labels", *records.OPTIONAL]
    _, one, two, three, four, *others = records.read().select(columns).rows()
    assert one == (["1"], ["0", "10"], None, None, None)
    assert two == (None, None, None, None, None)
    assert three == (["0", "10"], None, "patient 7", shot, "validation")
    assert four[3] == datetime(2026, 1, 2, tzinfo=UTC)
    assert {row[1:] for row in others} == {(None,) * 4}
    assert metrics()["photos_with_known_labels"] == 19
    assert metrics()["photos_with_partly_known_labels"] == 1
    assert metrics()["photos_with_unknown_labels"] == 1


def test_decoded_afresh_or_reused_the_bytes_are_the_same(
    folder: Path, ingest: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    ingest("kaggle-csv", {"test": None})
    first = sums()
    assert "20 photos, 20 decoded" in capsys.readouterr().out
    for out in OUTS:  # as DVC does before a stage runs
        shutil.rmtree(out) if Path(out).is_dir() else Path(out).unlink()
    ingest("kaggle-csv", {"test": None})
    assert sums() == first
    assert "20 photos, 0 decoded" in capsys.readouterr().out
    shutil.rmtree(".tagloom")
    ingest("kaggle-csv", {"test": None})
    assert sums() == first
    assert "20 photos, 20 decoded" in capsys.readouterr().out


def test_another_fit_is_another_store_and_changes_nothing_else(
    folder: Path, ingest: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    table = None
    for fit in ("stretch", "crop", "pad"):
        ingest("kaggle-csv", {"test": None}, fit=fit)
        assert "20 photos, 20 decoded" in capsys.readouterr().out
        assert ImageStore().form == Form(16, fit=fit)
        content = (folder / "data" / "3.jpg").read_bytes()
        assert (ImageStore().photo(3) == decode(content, 16, fit=fit).pixels).all()
        table = records.read() if table is None else table
        assert records.read().equals(table)
        shutil.rmtree("data/images")
    ingest("kaggle-csv", {"test": None}, fit="crop")
    assert "20 photos, 0 decoded" in capsys.readouterr().out


def test_new_removed_and_renamed_photos(
    folder: Path,
    ingest: Callable[..., None],
    photo: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ingest("kaggle-csv", {"test": None})
    capsys.readouterr()
    (folder / "data" / "99.jpg").write_bytes(photo(99))  # new
    (folder / "data" / "50.jpg").write_bytes(photo(5))  # known under another name
    (folder / "data" / "6.jpg").write_bytes(photo(66))  # another photo, the name as before
    list_photos([99, *range(19, 3, -1), 50])
    ingest("kaggle-csv", {"test": None})
    assert "18 photos, 2 decoded" in capsys.readouterr().out
    reused = sums()
    shutil.rmtree(".tagloom")
    ingest("kaggle-csv", {"test": None})
    assert sums() == reused


def test_files_that_have_not_changed_are_not_read(
    folder: Path,
    ingest: Callable[..., None],
    photo: Callable[..., bytes],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))
    ingest("kaggle-csv", {"test": None})
    capsys.readouterr()
    read = []
    monkeypatch.setattr(photos, "CAN_FORK", False)  # what a fork has read nobody sees here
    plain = photos.Files.read
    monkeypatch.setattr(
        photos.Files, "read", lambda files, photo: read.append(photo) or plain(files, photo)
    )
    (folder / "data" / "6.jpg").write_bytes(photo(66))
    (folder / "data" / "20.jpg").write_bytes(photo(20))
    (folder / "data" / "21.jpg").symlink_to("5.jpg")
    list_photos([*range(10, 22), *range(10)])
    for decoded in (2, 0):
        ingest("kaggle-csv", {"test": None})
        assert f"22 photos, {decoded} decoded" in capsys.readouterr().out
    assert sorted(read) == ["data/20.jpg", "data/21.jpg", "data/6.jpg"]
    reused = sums()
    shutil.rmtree(".tagloom")
    ingest("kaggle-csv", {"test": None})
    assert sums() == reused


def test_another_size_is_decoded_anew(folder: Path, ingest: Callable[..., None]) -> None:
    ingest("kaggle-csv", {"test": None})
    ingest("kaggle-csv", {"test": None}, image_size=24)
    assert ImageStore().size == 24
    ingest("kaggle-csv", {"test": None})
    assert ImageStore().size == 16


def test_everything_that_is_set_aside_is_listed(
    folder: Path, ingest: Callable[..., None], photo: Callable[..., bytes]
) -> None:
    data = folder / "data"
    (data / "20.jpg").write_bytes(b"")
    (data / "21.jpg").write_bytes(photo(21)[:300])
    (data / "22.jpg").write_text("I am a text")
    (data / "23.jpg").symlink_to("/etc/hostname")
    (data / "24.jpg").mkdir()
    lines = [f'{number}.jpg,1,"x "y""' for number in range(20, 26)]
    lines += ['../train.csv,1,"x"', '3.jpg,1,"again"', '19.jpg,77,"z"', '19.jpg,"', ',1,"x"']
    list_photos(range(19), "\n".join(lines))
    ingest("kaggle-csv", {"test": None}, labels=["0", "1", "2", "10"], max_rejected=0.5)
    assert len(records.read()) == 19
    reasons = rejected()
    assert len(reasons) == 11
    for photo_path, reason in {
        "data/20.jpg": "the file is empty",
        "data/21.jpg": "cannot be decoded: ",
        "data/22.jpg": "not an image of a format that is read",
        "data/23.jpg": "it is a link that leaves ingest.root and DVC's cache",
        "data/24.jpg": "it is not a file",
        "data/25.jpg": "the file is missing",
        "data/../train.csv": "its path leaves ingest.root",
        "data/3.jpg": "the id 3.jpg was used before: train.csv, row 5",
        "data/19.jpg": "not in ingest.labels: 77",
        "30": "not a record of 3 fields",
        "data/": "the id is empty",
    }.items():
        assert reason in reasons[photo_path], photo_path
    assert metrics()["rejected"] == 11


def test_rows_are_taken_in_part_by_part(
    folder: Path, ingest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "data" / "7.jpg").write_text("I am a text")
    list_photos([*range(15), 3, *range(15, 20), 14, 19])
    ingest("kaggle-csv", {"test": None}, max_rejected=0.5)
    at_once = sums()
    assert len(records.read()) == 19
    assert rejected()["data/19.jpg"] == "the id 19.jpg was used before: train.csv, row 22"
    monkeypatch.setattr(spool, "PART", 4)
    for _ in range(2):
        ingest("kaggle-csv", {"test": None}, max_rejected=0.5)
        assert sums() == at_once
    shutil.rmtree(".tagloom")
    ingest("kaggle-csv", {"test": None}, max_rejected=0.5)
    assert sums() == at_once
    assert not list(Path("data").glob(".*"))


@pytest.mark.parametrize("store", ["raw", "jpeg"])
def test_a_photo_that_is_set_aside_leaves_the_others_their_rows(
    folder: Path, photo: Callable[..., bytes], ingest: Callable[..., None], store: str
) -> None:
    def ingested() -> dict[str, bytes]:
        ingest("kaggle-csv", {"test": None}, max_rejected=0.1, store=store)
        return {file.name: file.read_bytes() for file in Path("data/images").iterdir()}

    (folder / "data" / "7.jpg").write_bytes(b"no photo")
    without = ingested()
    assert records.read()["image"].to_list() == [row for row in range(20) if row != 7]
    assert (len(ImageStore()), ImageStore().shards[0].is_empty(7)) == (20, True)
    others = [row for row in range(20) if row != 7]
    pixels = ImageStore().gather(np.array(others))
    assert ingested() == without  # from the cache
    (folder / "data" / "7.jpg").write_bytes(photo(7))
    with_all = ingested()
    np.testing.assert_array_equal(ImageStore().gather(np.array(others)), pixels)
    assert records.read()["image"].to_list() == list(range(20))
    shutil.rmtree(".tagloom")
    assert ingested() == with_all  # as decoded at once
    assert ImageStore().codec == store


def test_max_rejected_counts_photos(
    folder: Path, ingest: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    instances = {
        "images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(20)],
        "annotations": [{"image_id": 3, "category_id": 404} for _ in range(30)]
        + [{"image_id": number, "category_id": 1} for number in range(10)],
        "categories": [{"id": 1, "name": "cat"}],
    }
    captions = [{"image_id": number, "caption": "a cat"} for number in range(200)]
    (folder / "instances.json").write_text(json.dumps(instances))
    (folder / "captions.json").write_text(json.dumps({"annotations": captions}))
    options = {"instances": "instances.json", "photos": "data", "captions": "captions.json"}
    ingest("coco-json", options, max_rejected=0.05)  # one of twenty
    assert metrics()["rejected"] == 1
    assert len(records.read()) == 19
    assert "180 entries that cost no photo" in capsys.readouterr().out
    reasons = rejected()
    assert reasons["data/3.jpg"] == "an annotation of category 404, which is not listed"
    assert "a caption of an image not listed" in reasons.values()


def test_one_photo_under_two_ids_is_one_photo(folder: Path, ingest: Callable[..., None]) -> None:
    lines = [f"{id}.jpg,1" for id in ("3", "./3", ".//./3", "4")]
    (folder / "train.csv").write_text("\n".join(["ImageID,Labels", *lines]))
    ingest("kaggle-csv", {"test": None}, max_rejected=0.7)
    assert records.read()["id"].to_list() == ["3.jpg", "4.jpg"]
    reasons = rejected()
    assert reasons["data/./3.jpg"] == "its photo was listed before, as 3.jpg: train.csv, row 2"
    assert reasons["data/.//./3.jpg"] == reasons["data/./3.jpg"]


def test_text_that_no_file_can_hold_is_set_aside(folder: Path, ingest: Callable[..., None]) -> None:
    instances = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(1, 4)]
        + [{"id": 4, "file_name": "\ud800.jpg"}],
        "annotations": [],
        "categories": [],
    }
    (folder / "instances.json").write_text(json.dumps(instances))
    options = {"instances": "instances.json", "photos": "data"}
    ingest("coco-json", options, max_rejected=0.5)
    assert records.read()["id"].to_list() == ["1.jpg", "2.jpg", "3.jpg"]
    assert "not text" in rejected()["data/\\ud800.jpg"]


@pytest.mark.parametrize("max_rejected", [0.04, 0.05])
def test_more_than_may_be_lost_ends_the_stage(
    folder: Path, ingest: Callable[..., None], max_rejected: float
) -> None:
    ingest("kaggle-csv", {"test": None})
    before = sums()
    (folder / "data" / "7.jpg").unlink()
    if max_rejected == 0.05:  # one of twenty is just allowed
        ingest("kaggle-csv", {"test": None}, max_rejected=max_rejected)
        assert len(records.read()) == 19
        return
    with pytest.raises(UserError) as error:
        ingest("kaggle-csv", {"test": None}, max_rejected=max_rejected)
    assert "1 of 20 photos were set aside, more than ingest.max_rejected = 0.04" in str(error.value)
    assert "lists them, 1 times, as for data/7.jpg: the file is missing" in str(error.value)
    assert rejected() == {"data/7.jpg": "the file is missing"}
    after = sums()
    assert after.pop("data/rejected.csv") != before.pop("data/rejected.csv")
    assert after == before
    assert not list(Path("data").glob(".*"))


def test_rows_are_counted_before_photos_are_decoded(
    folder: Path, ingest: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    list_photos([*range(10), *range(10)])
    with pytest.raises(UserError, match="10 of 20 photos"):
        ingest("kaggle-csv", {"test": None})
    assert "photos" not in capsys.readouterr().err


def test_nothing_left_and_nothing_listed(folder: Path, ingest: Callable[..., None]) -> None:
    list_photos([100, 101])
    with pytest.raises(UserError, match="2 of 2 photos were set aside, so that none is left"):
        ingest("kaggle-csv", {"test": None}, max_rejected=1)
    (folder / "photos.csv").write_text("id,labels\n")
    with pytest.raises(UserError, match="the source table lists no photo in raw"):
        ingest("table")


def test_an_error_is_one_sentence_and_status_1(
    folder: Path, write_params: Callable[..., None]
) -> None:
    write_params("kaggle-csv", {"test": "none.csv"})
    done = run_stage()
    assert done.returncode == 1
    assert done.stderr == "ingest: raw/none.csv does not exist (ingest.root is raw)\n"
    Path("params.yaml").unlink()
    done = run_stage()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ingest: params.yaml: No such file or directory\n"


def test_pillows_warnings_are_not_shown(folder: Path, write_params: Callable[..., None]) -> None:
    stream = io.BytesIO()
    Image.new("1", (10_000, 9_500)).save(stream, "PNG")  # Pillow warns of it, and would open it
    (folder / "data" / "3.jpg").write_bytes(stream.getvalue())
    write_params("kaggle-csv", {"test": None}, max_rejected=0.5)
    done = run_stage()
    assert done.returncode == 0
    assert "decompression bomb: 10000 × 9500 pixels" in rejected()["data/3.jpg"]
    assert "Warning" not in done.stderr
    first, *others = done.stdout.splitlines()
    assert first == "ingest: 19 photos, 19 decoded, 1 rows set aside"
    assert all(line.startswith("ingest: ") for line in others)


@pytest.mark.slow
def test_a_killed_stage_leaves_the_outputs_of_the_last(
    in_tmp: Path, write_params: Callable[..., None]
) -> None:
    write_params("digits", {"train": 30, "test": 10})
    assert run_stage().returncode == 0
    before = sums()
    write_params("digits", {"train": 3000, "test": 10})
    with subprocess.Popen(
        [sys.executable, "-m", "stages.ingest"], env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as stage:
        while stage.poll() is None and not list(Path("data").glob(".images.*/images/00000.npy")):
            time.sleep(0.01)
        stage.send_signal(signal.SIGKILL)
    assert stage.returncode == -signal.SIGKILL
    assert sums() == before


@pytest.mark.skipif(not workers.CAN_FORK, reason="no processes by fork here")
def test_a_killed_process_ends_the_stage_and_leaves_the_outputs_of_the_last(
    in_tmp: Path, ingest: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest("digits", {"train": 30, "test": 10})
    before = sums()
    monkeypatch.setattr(digits, "_draw", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UserError, match="was killed by signal 9"):
        ingest("digits", {"train": 60, "test": 10})
    assert sums() == before
    assert not list(Path("data").glob(".*"))


def test_every_digit_is_a_record(in_tmp: Path, ingest: Callable[..., None]) -> None:
    ingest("digits", {"train": 60, "test": 20}, image_size=32)
    table = records.read()
    assert metrics()["photos"] == {"train": 60, "test": 20}
    assert (len(table), len(ImageStore()), ImageStore().size) == (80, 80, 32)
    assert table["labels"].null_count() == 0


def test_photos_of_phones_are_learnt_from(in_tmp: Path, ingest: Callable[..., None]) -> None:
    data = in_tmp / "raw" / "data"
    data.mkdir(parents=True)
    register_heif()
    Image.new("RGB", (40, 30), "red").save(data / "1.heic", "HEIF")
    (data.parent / "train.csv").write_text("ImageID,Labels\n1.heic,a\n")
    ingest("kaggle-csv", {"test": None})
    assert records.read()["width"].to_list() == [40]
    assert np.abs(ImageStore().photo(0) - np.array([255, 0, 0])).max() < 20


@pytest.mark.shared
def test_published_photos(shared: Path, in_tmp: Path, ingest: Callable[..., None]) -> None:
    (in_tmp / "raw").mkdir()
    for file in ("train.csv", "test.csv"):
        lines = (shared / "coco18" / file).read_text().splitlines(keepends=True)
        (in_tmp / "raw" / file).write_text("".join(lines[:31]))
    shutil.copytree(
        shared / "coco18" / "data",
        in_tmp / "raw" / "data",
        ignore=lambda _, names: [
            name
            for name in names
            if int(name.split(".")[0]) not in {*range(35), *range(30000, 30035)}
        ],
    )
    ingest("kaggle-csv", image_size=64)
    table = records.read()
    assert table.group_by("subset").len().sort("subset").rows() == [("test", 30), ("train", 30)]
    assert table.select(pl.min_horizontal("width", "height").min()).item() > 64
    assert rejected() == {}
    for row in table.sample(5, seed=0).iter_rows(named=True):
        with Image.open(shared / "coco18" / "data" / row["id"]) as image:
            assert image.size == (row["width"], row["height"])
            expected = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR), np.int16)
        pixels = ImageStore().gather(np.array([row["image"]]))[0]
        assert np.abs(pixels - expected).mean() < 6  # decoded at a half, and resized from there
