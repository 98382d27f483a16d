"""Photos and lists in archives: read where they are named, and nothing of the user's touched."""

import io
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import UserError
from stages.ingest import archives, packed, photos, records
from stages.ingest.images import IMAGES

Photo = Callable[..., bytes]
Ingest = Callable[..., None]
TABLE = "id,labels\n1.jpg,cat\n2.jpg,dog cat\n"
LABELS = [("1.jpg", ["cat"]), ("2.jpg", ["cat", "dog"])]


@pytest.fixture(autouse=True)
def cache(in_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where archives are unpacked."""
    monkeypatch.setenv("TAGLOOM_CACHE", str(in_tmp / "cache"))
    (in_tmp / "raw").mkdir()
    return in_tmp / "cache" / "archives"


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> None:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)


def taken() -> list[tuple[str, list[str]]]:
    return records.read().select("id", "labels").rows()


def bytes_on_disk(folder: Path) -> int:
    """Those of the files in ``folder``, without what is only said to be in them."""
    return sum(each.lstat().st_blocks for each in folder.rglob("*.jpg")) * 512


def reasons() -> list[str]:
    return [
        line.split(",", 3)[3] for line in Path("data/rejected.csv").read_text().splitlines()[1:]
    ]


def unpacked(cache: Path) -> list[Path]:
    return [each for each in cache.iterdir() if each.is_dir()]


def test_photos_in_a_zip(
    cache: Path, photo: Photo, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    names = ("jpg/1.jpg", "jpg\\2.jpg")  # as Windows writes them, too
    files = {name: photo(number) for number, name in enumerate(names)}
    archive = write_zip(Path("raw/photos.zip"), files | {"__MACOSX/jpg/._1.jpg": b""})
    before = archive.read_bytes(), archive.stat().st_mtime_ns
    ingest("table", {"photos": "photos.zip/jpg"}, max_rejected=0)
    assert taken() == LABELS
    assert {each.name for each in Path("raw").iterdir()} == {"photos.csv", "photos.zip"}
    [folder] = unpacked(cache)
    assert [each.name for each in (folder / "files").iterdir()] == ["jpg"]

    capsys.readouterr()
    ingest("table", {"photos": "photos.zip/jpg"})
    assert "unpacked" not in capsys.readouterr().out
    assert before == (archive.read_bytes(), archive.stat().st_mtime_ns)

    write_zip(archive, files | {"jpg/2.jpg": photo(7, (40, 30))})
    ingest("table", {"photos": "photos.zip/jpg"})
    assert records.read()["width"].to_list() == [24, 40]
    assert unpacked(cache) != [folder]
    assert len(unpacked(cache)) == 1


@pytest.mark.parametrize("name", ["export.zip", "some/export.ZIP", "export.tar", "export.tar.gz"])
def test_a_list_in_the_archive_with_its_photos(name: str, photo: Photo, ingest: Ingest) -> None:
    path = Path("raw", name)
    path.parent.mkdir(exist_ok=True)
    files = {"a/photos.csv": TABLE.encode(), "a/1.jpg": photo(1), "a/2.jpg": photo(2)}
    (write_zip if path.suffix.lower() == ".zip" else write_tar)(path, files)
    options = {"file": f"{name}/a/photos.csv", "photos": f"{name}/a"}
    ingest("table", options, max_rejected=0)
    assert taken() == LABELS


def test_folders_in_a_tar_with_links(photo: Photo, ingest: Ingest) -> None:
    files = {"photos/cat/1.jpg": photo(1), "photos/dog/2.jpg": photo(2)}
    write_tar(Path("raw/all.tgz"), files, {"photos/dog/1.jpg": "../cat/1.jpg"})
    ingest("folders", {"photos": "all.tgz/photos"}, max_rejected=0)
    assert sorted(records.read()["labels"].to_list()) == [["cat", "dog"], ["dog"]]


def test_several_archives_by_a_pattern(photo: Photo, ingest: Ingest) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    write_zip(Path("raw/photos-1.zip"), {"jpg/1.jpg": photo(1)})
    write_zip(Path("raw/photos-2.zip"), {"jpg/2.jpg": photo(2)})
    ingest("table", {"photos": "photos-*.zip/jpg"}, max_rejected=0)
    assert taken() == LABELS


def test_an_archive_of_a_delivery(photo: Photo, ingest: Ingest) -> None:
    for folder, name in ((Path("raw"), "1.jpg"), (Path("raw/deliveries/may"), "2.jpg")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "photos.csv").write_text(f"id,labels\n{name},cat\n")
        write_zip(folder / "photos.zip", {name: photo(int(name[0]))})
    ingest("table", {"photos": "photos.zip"}, max_rejected=0)
    assert records.read().select("id", "delivery").rows() == [("1.jpg", 0), ("2.jpg", 1)]


def test_a_path_with_backslashes(photo: Photo, ingest: Ingest) -> None:
    Path("raw/photos.csv").write_text("id,labels\njpg\\1.jpg,cat\n")
    Path("raw/photos/jpg").mkdir(parents=True)
    Path("raw/photos/jpg/1.jpg").write_bytes(photo())
    ingest("table", max_rejected=0)
    assert taken() == [("jpg\\1.jpg", ["cat"])]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no archive", "cannot be unpacked"),
        ({"../out.jpg": b""}, "leaves the archive"),
        ({"/out.jpg": b""}, "leaves the archive"),
        ({".": b""}, "leaves the archive"),  # a file that would be the folder itself
    ],
)
def test_what_cannot_be_unpacked_leaves_nothing(
    content: bytes | dict[str, bytes], reason: str, cache: Path, ingest: Ingest
) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    archive = Path("raw/photos.zip")
    archive.write_bytes(content) if isinstance(content, bytes) else write_zip(archive, content)
    with pytest.raises(UserError, match=rf"raw/photos\.zip.*{reason}"):
        ingest("table", {"photos": "photos.zip"})
    assert unpacked(cache) == []
    assert not Path("data/records.parquet").exists()


def test_the_root_is_a_folder(photo: Photo, ingest: Ingest) -> None:
    write_zip(Path("raw/all.zip"), {"photos.csv": TABLE.encode()})
    with pytest.raises(UserError, match=r"ingest\.root .*set it to raw.* all\.zip/photos"):
        ingest("table", root="raw/all.zip")


@pytest.mark.parametrize("tracked", ["raw", "raw/photos.zip", "raw/photos.csv"])
def test_what_dvc_has_not_brought_yet(tracked: str, photo: Photo, ingest: Ingest) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    write_zip(Path("raw/photos.zip"), {"1.jpg": photo(1), "2.jpg": photo(2)})
    Path(f"{tracked}.dvc").write_text("outs: []")
    ingest("table", {"photos": "photos.zip"}, max_rejected=0)
    Path(tracked).rename("away")
    with pytest.raises(UserError, match=rf"^{tracked} is not here.* dvc pull {tracked}\.dvc$"):
        ingest("table", {"photos": "photos.zip"})


def test_an_archive_that_no_option_names_is_not_unpacked(
    cache: Path, photo: Photo, ingest: Ingest
) -> None:
    Path("raw/photos.csv").write_text("id,labels\n1.jpg,cat\n")
    Path("raw/photos").mkdir()
    Path("raw/photos/1.jpg").write_bytes(photo())
    write_zip(Path("raw/backup.zip"), {"1.jpg": b""})
    ingest("table")
    assert not cache.exists()
    assert packed.place() == cache


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("photos.zip", zipfile.ZIP_STORED),
        ("photos.zip", zipfile.ZIP_DEFLATED),
        ("photos.zip", zipfile.ZIP_BZIP2),
        ("photos.tar", None),
        ("photos.tgz", None),
    ],
)
def test_the_store_is_that_of_the_files(
    name: str, method: int | None, cache: Path, photo: Photo, ingest: Ingest
) -> None:
    files = {f"{number}.jpg": photo(number, (90, 60)) for number in range(40)}
    lines = [f"{each},{'cat' if 'a' in each else 'dog'}" for each in files]
    Path("raw/photos.csv").write_text("\n".join(["id,labels", *lines]))
    Path("raw/photos").mkdir()
    for each, content in files.items():
        Path("raw/photos", each).write_bytes(content)
    ingest("table", max_rejected=0)
    stored = [records.RECORDS.read_bytes(), *(each.read_bytes() for each in IMAGES.iterdir())]
    path = Path("raw", name)
    write_tar(path, files) if method is None else write_zip(path, files, method)
    ingest("table", {"photos": name}, max_rejected=0)
    assert stored == [records.RECORDS.read_bytes(), *(e.read_bytes() for e in IMAGES.iterdir())]
    is_in_place = name == "photos.tar" or method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    assert (bytes_on_disk(cache) == 0) == is_in_place


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar"])
def test_an_archive_as_it_was_is_not_read(
    name: str, photo: Photo, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))  # however long it takes
    Path("raw/photos.csv").write_text(TABLE)
    write = write_zip if name == "photos.zip" else write_tar
    write(Path("raw", name), {"1.jpg": photo(1), "2.jpg": photo(2)})
    ingest("table", {"photos": name}, max_rejected=0)
    with monkeypatch.context() as patch:
        patch.delattr(packed, "read")
        ingest("table", {"photos": name}, max_rejected=0)
    state = os.stat(Path("raw", name))
    write(Path("raw", name), {"1.jpg": photo(3), "2.jpg": photo(2)})
    os.utime(Path("raw", name), ns=(state.st_atime_ns, state.st_mtime_ns))
    before = records.read()["sha256"].to_list()
    ingest("table", {"photos": name}, max_rejected=0)
    first, second = records.read()["sha256"]
    assert first != before[0]
    assert second == before[1]


def spoilt(path: Path, at: bytes, offset: int, content: bytes) -> None:
    """Writes ``content`` so many bytes after the last ``at`` of a file."""
    whole = bytearray(path.read_bytes())
    place = whole.rindex(at) + offset
    whole[place : place + len(content)] = content
    path.write_bytes(whole)


@pytest.mark.parametrize(
    ("method", "offset", "reason"),
    [
        (zipfile.ZIP_STORED, 200, "another checksum"),
        (zipfile.ZIP_DEFLATED, 35, "cannot be inflated"),
        (zipfile.ZIP_STORED, 0, "no file begins where it should"),
    ],
)
def test_a_damaged_photo_is_set_aside(
    method: int, offset: int, reason: str, photo: Photo, ingest: Ingest
) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    archive = write_zip(Path("raw/photos.zip"), {"1.jpg": photo(1), "2.jpg": photo(2)}, method)
    spoilt(archive, b"PK\x03\x04", offset, b"\xff" * 4)
    ingest("table", {"photos": "photos.zip"}, max_rejected=0.5)
    assert taken() == LABELS[:1]
    [text] = reasons()
    assert "archive is damaged" in text
    assert reason in text


def test_a_photo_with_a_password(cache: Path, photo: Photo, ingest: Ingest) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    archive = write_zip(Path("raw/photos.zip"), {"1.jpg": photo(1), "2.jpg": photo(2)})
    spoilt(archive, b"PK\x01\x02", 8, struct.pack("<H", 1))
    with pytest.raises(UserError, match=r"photos\.zip cannot be unpacked.*2\.jpg.*encrypted"):
        ingest("table", {"photos": "photos.zip"})
    assert unpacked(cache) == []


def test_of_two_files_of_one_name_the_last_counts(photo: Photo, ingest: Ingest) -> None:
    Path("raw/photos.csv").write_text(TABLE)
    with zipfile.ZipFile("raw/photos.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that is what it is about
        for number, (width, method) in enumerate([(20, 0), (30, 12), (40, 12), (50, 8)]):
            content = photo(number, (width, 16))
            archive.writestr(f"{number // 2 + 1}.jpg", content, compress_type=method)
    ingest("table", {"photos": "photos.zip"}, max_rejected=0)
    assert records.read()["width"].to_list() == [30, 50]


def test_an_archive_that_changes_under_the_stage(photo: Photo) -> None:
    archive = write_zip(Path("raw/photos.zip"), {"1.jpg": photo(1)})
    files = photos.Files(archives.unpacked(archive), packed.place())
    assert pickle.loads(pickle.dumps(files)).read("1.jpg")[0] == photo(1)  # as on a cluster
    os.link(archive, "raw/link.zip")  # as DVC does when somebody else checks it out
    assert files.read("1.jpg")[0] == photo(1)
    write_zip(archive, {"0.jpg": photo(2), "1.jpg": photo(1)})
    with pytest.raises(photos.UnreadablePhoto, match="archive has changed"):
        files.read("1.jpg")
    archive.unlink()
    with pytest.raises(photos.MissingPhoto):
        files.read("1.jpg")
    with pytest.raises(photos.UnreadablePhoto, match="not a file"):
        files.read("")


def test_photos_of_several_labels_in_a_zip(photo: Photo, ingest: Ingest) -> None:
    files = {"cat/1.jpg": photo(1), "dog/1.jpg": photo(1), "dog/2.jpg": photo(2)}
    padded = photo(3).ljust(len(photo(2)), b"\0")  # as long as another of its name
    write_zip(Path("raw/all.zip"), files | {"cat/2.jpg": padded})
    ingest("folders", {"photos": "all.zip"}, max_rejected=0)
    ids = [f"all.zip/{each}" for each in ("cat/1.jpg", "cat/2.jpg", "dog/2.jpg")]
    assert taken() == list(zip(ids, [["cat", "dog"], ["cat"], ["dog"]], strict=True))
