"""What runs on a machine that is had for minutes only, and what it is sent; all without a GPU."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks import device, gpu, parcels
from benchmarks.device import Part
from benchmarks.table import Options
from tests.benchmarks import parts

TINY = Options(photos=8, repeats=1, tiny=True)


def part(name: str, seconds: float = 60) -> Part:
    return Part(name, f"{parts.__name__}:{name}", seconds, photos=5)


def test_what_fails_or_hangs_costs_neither_its_rows_nor_the_other_parts(tmp_path: Path):
    asked = [part("failing"), part("killed"), part("hanging", seconds=3), part("whole")]
    started = time.monotonic()
    device.run(asked, Options(), tmp_path, started + 100)
    assert 3 < time.monotonic() - started < 3 + parts.SECONDS
    lines = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["part"] for each in found] == [each.name for each in asked for _ in range(2)]
    assert [each["what"] for each in found[::2]] == ["speed"] * 4
    failed, ended, late, told = found[1::2]
    assert failed["note"] == "failed: RuntimeError: out of / paper"
    assert ended["note"].startswith("ended by SIGKILL")
    assert late["note"].startswith("not done after 3 s")
    assert (told["ours"], told["theirs"]) == ([5], [2])
    table = (tmp_path / "rows.md").read_text("utf-8").splitlines()
    assert (len(table), table[0]) == (8, str(parts.FOUND))
    assert "Traceback" in (tmp_path / "log.txt").read_text("utf-8")


def test_what_there_is_no_time_for_is_said(tmp_path: Path):
    device.run([part("whole")], Options(), tmp_path, time.monotonic() + 1)
    (line,) = (tmp_path / "rows.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["note"] == "there was no time left"


def test_parts_take_no_more_photos_than_there_are(tmp_path: Path):
    photos = tmp_path / "coco18" / "data"
    photos.mkdir(parents=True)
    for number in range(3):
        (photos / f"{number}.jpg").touch()
    assert device.photos_for(part("whole"), Options()) == 5
    assert device.photos_for(part("whole"), Options(shared=tmp_path)) == 3


def test_parts_of_the_gpu_can_be_tried_without_one():
    compiled, *others = gpu.compilation(TINY)
    assert compiled.ratios[0] > 0
    assert "not compiled" in compiled.note
    assert [each.ours for each in [*others, *gpu.memory(TINY)]] == [[]] * 4


def test_parcels_keep_to_their_size_and_make_an_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    site, here = tmp_path / "site", tmp_path / "here"
    site.mkdir()
    (site / "brought.py").write_text("from pathlib import Path\nimport numpy, packaging\n")
    archive = parcels.packed(site, tmp_path / "basic.tar.xz")
    photos = [tmp_path / f"{number}.jpg" for number in range(5)]
    for photo in photos:
        photo.write_bytes(os.urandom(3000))
    files = [(archive, "site/basic.tar.xz"), *[(p, f"shared/{p.name}") for p in photos]]
    mb = 9000 / parcels.MB
    parcels.fill(tmp_path / "parcels", mb, iter(files))
    sent = sorted((tmp_path / "parcels").iterdir())
    assert [parcel.name for parcel in sent] == ["1", "2", "3"]
    for parcel in sent:
        sizes = [file.stat().st_size for file in parcel.rglob("*") if file.is_file()]
        assert 0 < sum(sizes) <= 9000

    monkeypatch.setattr(parcels, "HERE", here)
    for parcel in sent:
        parcels.open_all([parcel])
    assert len(list((here / "shared").glob("*.jpg"))) == 5
    done = subprocess.run(
        [here / "bin" / "python", "-c", "import brought; print(brought.__file__)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(here)


def test_a_file_larger_than_a_parcel_is_refused(tmp_path: Path):
    (tmp_path / "weights").write_bytes(bytes(5000))
    with pytest.raises(SystemExit, match=r"weights takes 0\.0 MB, more than a parcel; raise --mb"):
        parcels.fill(tmp_path / "parcels", 0.004, iter([(tmp_path / "weights", "weights")]))


@pytest.mark.parametrize(("python", "numpy"), [("3.11", "2.4.6"), ("3.12", "2.5.5")])
def test_packages_are_those_locked_for_the_python(python: str, numpy: str):
    locked = dict(each.split("==") for each in parcels.locked(python))
    assert locked["numpy"] == numpy
    wanted = {*parcels.BASIC.split(), *parcels.ONNX.split()}
    assert wanted <= locked.keys()
