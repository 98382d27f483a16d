"""The files of photos that people bring, whatever they are."""

import os
from pathlib import Path

import pytest

from stages.ingest.images import UnreadablePhoto
from tagloom.photo_files import read_file


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
