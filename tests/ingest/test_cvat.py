"""What CVAT writes as "CVAT for images 1.1"."""

from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable, cvat

OPTIONS = cvat.Options(annotations="annotations.xml", photos="images")


def listed(root: Path, text: str) -> list[Row | Unreadable]:
    (root / "annotations.xml").write_text(text)
    return list(cvat.rows(root, OPTIONS))


def test_labels_are_those_of_tags_and_shapes(tmp_path: Path):
    rows = listed(
        tmp_path,
        """<?xml version="1.0" encoding="utf-8"?>
        <annotations><version>1.1</version><meta><task><labels><label><name>eel</name></label>
        </labels></task></meta>
        <image id="0" name="a/1.jpg" width="24" height="16">
          <tag label="dog" source="manual"></tag>
          <box label="cat" xtl="1" ytl="1" xbr="2" ybr="2"><attribute name="x">y</attribute></box>
          <tag label="dog" source="auto"></tag>
        </image>
        <image id="1" name="2.jpg" width="24" height="16"></image>
        <image id="2" width="24" height="16"></image>
        </annotations>""",
    )
    assert rows[:2] == [
        Row("annotations.xml", 1, "a/1.jpg", "images/a/1.jpg", "train", ["cat", "dog"], None),
        Row("annotations.xml", 2, "2.jpg", "images/2.jpg", "train", [], None),
    ]
    assert rows[2:] == [Unreadable("annotations.xml", 3, "an <image> without a name")]


@pytest.mark.parametrize(
    ("subset", "expected"),
    [("Train", ("train", "train")), ("Validation", ("train", "validation")),
     ("Test", ("test", None)), ("default", ("train", None))],
)  # fmt: skip
def test_subsets_of_a_project(tmp_path: Path, subset: str, expected: tuple[str, str | None]):
    image = f'<image id="0" name="1.jpg" subset="{subset}" task_id="3"><tag label="cat"/></image>'
    [row] = listed(tmp_path, f"<annotations>{image}</annotations>")
    assert isinstance(row, Row)
    assert (row.subset, row.part) == expected
    assert (row.id, row.photo) == ("1.jpg", f"images/{subset}/1.jpg")


@pytest.mark.parametrize(
    "text",
    [
        "<annotations>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>",
        "<annotation/>",
        "<annotations><track id='0' label='cat'/></annotations>",
    ],
)
def test_what_is_no_export_of_images(tmp_path: Path, text: str):
    with pytest.raises(UserError, match=r"annotations\.xml is not"):
        listed(tmp_path, text)
