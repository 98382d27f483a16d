"""Photos that people bring, whatever is in their files."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.ingest.images import decode
from tagloom import decoding
from tagloom.decoding import UnreadablePhoto, read, read_file


def encoded(form: str, size: tuple[int, int] = (40, 30)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_formats_of_cameras_and_phones_are_read(form: str):
    photo = read(encoded(form), 16)
    assert photo.pixels.shape == (16, 16, 3)
    assert (photo.width, photo.height) == (40, 30)


def test_photos_are_decoded_as_those_that_were_learnt_from():
    content = encoded("JPEG", (300, 200))
    assert (read(content, 24).pixels == decode(content, 24).pixels).all()


def test_heic_without_the_plug_in_says_what_is_missing(tmp_path: Path):
    (tmp_path / "photo.heic").write_bytes(encoded("HEIF"))
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"  # what an import of it then fails with
        "from pathlib import Path\n"
        "from tagloom.decoding import UnreadablePhoto, read, suffixes\n"
        "assert '.heic' in suffixes()\n"
        "try: read(Path(sys.argv[1]).read_bytes(), 16)\n"
        "except UnreadablePhoto as error: print(error)"
    )
    command = [sys.executable, "-c", program, tmp_path / "photo.heic"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install pillow-heif" in result.stdout


@pytest.mark.parametrize(
    "name, reason",
    [
        ("missing.jpg", "missing"),
        ("broken", "link"),
        ("itself", "Too many levels"),
        ("folder", "not a file"),
        ("pipe", "not a file"),
        ("a\0b", "path"),
        ("huge", "1,000,000,000,000 bytes, .* 536,870,912"),
        ("long" * 100, "File name too long"),
    ],
)
def test_what_is_no_file_of_a_photo_is_refused(name: str, reason: str, in_tmp: Path):
    Path("broken").symlink_to("nowhere")
    Path("itself").symlink_to("itself")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    with Path("huge").open("wb") as file:
        file.truncate(10**12)  # which takes no room
    with pytest.raises(UnreadablePhoto, match=reason):
        read_file(Path(name))


def test_suffixes_are_those_of_images():
    assert {".jpg", ".jpeg", ".png", ".webp", ".heic", ".avif", ".tif"} <= decoding.suffixes()
    assert not {".pdf", ".eps", ".mpg", ".h5", ".txt", ".csv", ""} & decoding.suffixes()
