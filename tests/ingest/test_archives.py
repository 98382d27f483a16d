"""Photos and lists in archives: read where they are named, and nothing of the user's touched."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages import UserError
from stages.ingest import archives, records

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


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
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
    assert sorted(each.name for each in folder.iterdir()) == ["jpg"]

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


def test_an_archive_that_no_option_names_is_not_unpacked(
    cache: Path, photo: Photo, ingest: Ingest
) -> None:
    Path("raw/photos.csv").write_text("id,labels\n1.jpg,cat\n")
    Path("raw/photos").mkdir()
    Path("raw/photos/1.jpg").write_bytes(photo())
    write_zip(Path("raw/backup.zip"), {"1.jpg": b""})
    ingest("table")
    assert not cache.exists()
    assert archives.place() == cache
