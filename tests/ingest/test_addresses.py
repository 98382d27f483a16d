"""Photos at addresses: fetched once from servers that are real, and set aside one by one."""

import csv
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from stages import UserError
from stages.ingest import addresses, photos, records

Ingest = Callable[..., None]
NO_HOST = "http://nowhere.invalid/1.jpg"
LATE = "has not given it within 0.1 seconds"


class Server(ThreadingHTTPServer):
    """Serves ``photos``; what it was asked for is counted in ``asked``."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, photos: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.photos = photos
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        if self.path.startswith("/hangs"):
            self.server.over.wait(60)
            return
        if self.path == "/busy.jpg" and self.server.asked[self.path] == 1:
            self.send_error(503)
            return
        if (content := self.server.photos.get(self.path)) is None:
            self.send_error(404)
            return
        self.send_response(200)
        cut = self.path == "/cut.jpg"
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:100] if cut else content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(
    in_tmp: Path, photo: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    monkeypatch.setattr(addresses, "PAUSES", (0.01,))
    Path("raw").mkdir()
    names = ("/1.jpg", "/deep/2.jpg?of=3&x=*", "/busy.jpg", "/cut.jpg", "/a%20b.jpg")
    server = Server({name: photo(number) for number, name in enumerate(names)})
    server.photos["/page.jpg"] = b"<html>Sign in to see this photo</html>"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def list_photos(*names: str) -> None:
    lines = [f'"{name}",cat' for name in names]
    Path("raw/photos.csv").write_text("\n".join(["id,labels", *lines]))


def rejected() -> dict[str, str]:
    with Path("data/rejected.csv").open() as file:
        return {row["photo"]: row["reason"] for row in csv.DictReader(file)}


def test_what_cannot_be_fetched_is_set_aside_alone(
    server: Server, photo: Callable[..., bytes], ingest: Ingest
) -> None:
    Path("raw/photos").mkdir()
    Path("raw/photos/0.jpg").write_bytes(photo(9, (40, 30)))
    paths = ["/1.jpg", "/deep/2.jpg?of=3&x=*", "/busy.jpg", "/a b.jpg"]
    bad = ["/none.jpg", "/page.jpg", "/cut.jpg"]
    here = server.address
    list_photos("0.jpg", *(f"{here}{path}" for path in paths + bad), NO_HOST)
    ingest("table", max_rejected=0.5)
    assert records.read()["id"].to_list() == ["0.jpg", *(f"{here}{path}" for path in paths)]
    assert records.read()["width"].to_list() == [40, 24, 24, 24, 24]
    host = here.removeprefix("http://").replace(":", "_")
    reasons = rejected()
    assert reasons.keys() == {*(f"{here}{path}" for path in bad), NO_HOST}
    assert reasons[f"{here}/none.jpg"] == f"{host} has no photo at its address (404)"
    assert reasons[f"{here}/page.jpg"] == "not an image of a format that is read"
    assert "cannot be fetched" in reasons[f"{here}/cut.jpg"]
    assert "nowhere.invalid" in reasons[NO_HOST]
    assert server.asked["/none.jpg"] == 1
    assert server.asked["/busy.jpg"] == server.asked["/cut.jpg"] == 2


def test_nothing_is_fetched_twice_but_what_failed(
    server: Server, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    list_photos(*(f"{server.address}/{name}.jpg" for name in ("1", "busy", "page", "none")))
    ingest("table", max_rejected=0.5)
    server.asked.clear()
    ingest("table", max_rejected=0.5)
    assert "2 photos, 0 decoded, 2 rows set aside" in capsys.readouterr().out
    assert server.asked == {"/page.jpg": 1, "/none.jpg": 1}
    server.photos["/page.jpg"] = server.photos["/none.jpg"] = server.photos["/1.jpg"]
    ingest("table", max_rejected=0)
    assert len(records.read()) == 4
    # Another photo at the same address is not seen, until what was fetched is deleted.
    server.photos["/1.jpg"] = server.photos["/cut.jpg"]
    before = records.read()["sha256"][0]
    ingest("table")
    assert records.read()["sha256"][0] == before
    addresses.file_of(f"{server.address}/1.jpg").unlink()
    ingest("table")
    assert records.read()["sha256"][0] != before


def test_a_file_that_was_fetched_is_not_even_read(
    server: Server, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "UNSETTLED", -(10**18))
    list_photos(f"{server.address}/1.jpg")
    ingest("table")
    monkeypatch.delattr(photos.Files, "read")
    ingest("table")
    assert len(records.read()) == 1


@pytest.mark.parametrize("source", ["table", "kaggle-csv", "coco-json"])
def test_a_folder_at_an_address(server: Server, ingest: Ingest, source: str) -> None:
    folder = f"{server.address}/"
    if source == "table":
        list_photos("1", "busy")
        options = {"photos": [folder, "photos"], "pattern": "{id}.jpg"}
    elif source == "kaggle-csv":
        Path("raw/train.csv").write_text("ImageID,Labels\n1.jpg,cat\nbusy.jpg,cat\n")
        options = {"photos": folder, "test": None}
    else:
        names = ["1.jpg", f"{server.address}/busy.jpg"]
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        content = {"images": images, "annotations": [], "categories": []}
        Path("raw/a.json").write_text(json.dumps(content))
        options = {"instances": "a.json", "photos": folder}
    ingest(source, options, max_rejected=0)
    assert len(records.read()) == 2
    assert server.asked == {"/1.jpg": 1, "/busy.jpg": 2}


def test_a_delivery_with_addresses(server: Server, ingest: Ingest) -> None:
    list_photos(f"{server.address}/1.jpg")
    Path("raw/deliveries/may").mkdir(parents=True)
    Path("raw/deliveries/may/photos.csv").write_text(f"id,labels\n{server.address}/busy.jpg,cat\n")
    ingest("table", max_rejected=0)
    assert records.read()["delivery"].to_list() == [0, 1]


def test_a_host_that_gives_nothing_is_given_up(
    server: Server, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "MOST_FAILURES", 3)
    monkeypatch.setattr(addresses, "THREADS", 3)
    monkeypatch.setattr(addresses, "TIMEOUT", 0.1)
    list_photos(*(f"{server.address}/hangs-{number}.jpg" for number in range(30)))
    with pytest.raises(UserError, match="30 of 30 photos were set aside"):
        ingest("table")
    reasons = Counter(reason.partition(" ")[2] for reason in rejected().values())
    assert 3 <= reasons[LATE] <= 5  # two of the three threads may be at a photo by then
    given_up = "was asked for 3 other photos in vain, so not for this"
    assert reasons == {LATE: reasons[LATE], given_up: 30 - reasons[LATE]}
    assert sum(server.asked.values()) <= 5 * 2


def test_s3(
    in_tmp: Path,
    photo: Callable[..., bytes],
    ingest: Ingest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    s3 = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    threading.Thread(target=s3.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import s3fs

    bucket = s3fs.S3FileSystem()
    bucket.mkdir("bucket")
    bucket.pipe("bucket/deep/1.jpg", photo(1))
    Path("raw").mkdir()
    list_photos("1.jpg", "none.jpg", "s3://other/1.jpg")
    ingest("table", {"photos": "s3://bucket/deep"}, max_rejected=0.7)
    assert records.read()["id"].to_list() == ["1.jpg"]
    assert rejected() == {
        "s3://bucket/deep/none.jpg": "bucket has no photo at its address (404)",
        "s3://other/1.jpg": "other has no photo at its address (404)",
    }
    s3.shutdown()
    s3.server_close()


def test_without_the_extra(in_tmp: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    Path("raw").mkdir()
    list_photos(NO_HOST)
    with pytest.raises(UserError, match=rf"{NO_HOST}.*pip install 'tagloom\[addresses\]'"):
        ingest("table")


def test_the_root_is_a_folder(in_tmp: Path, ingest: Ingest) -> None:
    with pytest.raises(UserError, match=r"ingest\.root is the address s3://bucket/raw"):
        ingest("table", root="s3://bucket/raw")


def test_where_fetched_photos_lie(in_tmp: Path) -> None:
    for address, host in {
        "https://a.example:8080/1.jpg": "a.example_8080",
        "https://me:secret@a.example/1.jpg": "a.example",
        "s3://bucket/1.jpg": "bucket",
        "http:///1.jpg": "_",
        "http://../1.jpg": "_",
        "http://[broken/1.jpg": "_",
        f"http://{'x' * 300}/1.jpg": "x" * 100,
    }.items():
        assert addresses.file_of(address).parent == addresses.place() / host
    assert pl.Series([addresses.file_of(f"s3://b/{key}").name for key in "ab"]).n_unique() == 2
