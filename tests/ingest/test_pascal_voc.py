from pathlib import Path

import pytest

from stages import UserError
from stages.ingest.sources import Row, Unreadable
from stages.ingest.sources.pascal_voc import Options, rows

OPTIONS = Options(
    annotations="Annotations",
    photos="JPEGImages",
    sets="ImageSets/Main",
    validation=None,
    test=None,
)
LISTS = OPTIONS.model_copy(update={"annotations": None})

# As in VOC2012, shortened: a person of two parts, a difficult chair beside another, a hard bottle.
XML = """<annotation>
	<folder>VOC2012</folder>
	<filename>2007_000001.jpg</filename>
	<size><width>500</width><height>442</height><depth>3</depth></size>
	<segmented>0</segmented>
	<object>
		<name>person</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
		<bndbox><xmin>8</xmin><ymin>12</ymin><xmax>352</xmax><ymax>498</ymax></bndbox>
		<part><name>head</name><bndbox><xmin>8</xmin></bndbox></part>
	</object>
	<object><name>chair</name><difficult>1</difficult></object>
	<object><name>chair</name></object>
	<object><name>bottle</name><difficult>1</difficult></object>
</annotation>
"""
EMPTY = "<annotation><filename>x.jpg</filename></annotation>"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six photos, 1 to 6: two of train, two of val, one of test, and one in no set."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(1, 7):
        (tmp_path / "JPEGImages" / f"2007_{number}.jpg").touch()
    for number in range(1, 5):
        (tmp_path / "Annotations" / f"2007_{number}.xml").write_text(XML if number == 1 else EMPTY)
    lists = {"train": [1, 2], "val": [3, 4], "trainval": [1, 2, 3, 4], "test": [5]}
    for name, numbers in lists.items():
        text = "".join(f"2007_{number}\n" for number in numbers)
        (tmp_path / "ImageSets/Main" / f"{name}.txt").write_text(text)
    return tmp_path


def of_class(root: Path, name: str, *values: str) -> None:
    """A list of a class, with a value for each photo from the first on."""
    lines = [f"2007_{number} {value:>2}" for number, value in enumerate(values, 1) if value]
    (root / "ImageSets/Main" / name).write_text("\n".join(lines) + "\n")


def by_id(root: Path, options: Options = OPTIONS) -> dict[str, Row]:
    listed = list(rows(root, options))
    assert all(isinstance(row, Row) for row in listed), listed
    return {row.id.removeprefix("2007_"): row for row in listed}


def aside(root: Path, options: Options = OPTIONS) -> list[tuple[str, str]]:
    return [
        (row.photo.removeprefix("JPEGImages/2007_"), row.reason)
        for row in rows(root, options)
        if isinstance(row, Unreadable)
    ]


def test_xml_and_sets(root: Path) -> None:
    found = by_id(root)
    first = found["1"]
    assert first == Row(
        "ImageSets/Main/train.txt",
        1,
        "2007_1",
        "JPEGImages/2007_1.jpg",
        "train",
        ["chair", "person"],
        None,
        unknown=("bottle",),
        part="train",
    )
    assert {id: (row.subset, row.part, row.labels) for id, row in found.items() if id != "1"} == {
        "2": ("train", "train", []),
        "3": ("train", "validation", []),
        "4": ("train", "validation", []),
        "5": ("test", None, None),
    }


def test_xml_alone(root: Path) -> None:
    (root / "JPEGImages" / "2007_2.jpg").rename(root / "JPEGImages" / "2007_2.png")
    (root / "JPEGImages" / "2007_3.png").touch()
    options = OPTIONS.model_copy(update={"sets": None})
    listed = [row for row in rows(root, options) if isinstance(row, Row)]
    assert [row.photo[-5:] for row in listed] == ["1.jpg", "2.png", "3.jpg", "4.jpg"]
    assert {row.part for row in listed} == {None}
    assert aside(root, options) == [
        ("3.png", "another photo has its name, but for the ending"),
        ("5.jpg", "there is no annotation of it"),
        ("6.jpg", "there is no annotation of it"),
    ]


def test_lists_of_classes(root: Path) -> None:
    of_class(root, "cat_train.txt", "1", "-1")
    of_class(root, "train_train.txt", "0", "1")  # VOC has a class of this name
    of_class(root, "cat_val.txt", "", "", "1")
    found = by_id(root, LISTS)
    assert {id: (row.labels, row.unknown) for id, row in found.items()} == {
        "1": (["cat"], ("train",)),
        "2": (["train"], ()),
        "3": (["cat"], ("train",)),
        "4": ([], ("cat", "train")),
        "5": (None, ()),
    }
    assert [row.part for row in found.values()] == ["train"] * 2 + ["validation"] * 2 + [None]


def test_lists_of_classes_alone_name_the_photos(root: Path) -> None:
    for name in ("train", "val", "trainval", "test"):
        (root / "ImageSets/Main" / f"{name}.txt").unlink()
    of_class(root, "cat_trainval.txt", "1", "-1", "-1")
    of_class(root, "dog_trainval.txt", "-1", "1")
    found = by_id(root, LISTS)
    assert [row.labels for row in found.values()] == [["cat"], ["dog"], []]
    assert found["3"].unknown == ("dog",)
    assert {row.part for row in found.values()} == {None}


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("2007_1 2\n2007_2 1\n", "not an id and 1, 0 or -1"),
        ("2007_1\n2007_2 1\n", "not an id and 1, 0 or -1"),
        ("2007_1 1\n2007_2 1\n2007_1 -1\n", "twice"),
    ],
)
def test_a_photo_with_a_strange_line_is_set_aside(root: Path, lines: str, reason: str) -> None:
    of_class(root, "dog_train.txt", "1", "1")
    of_class(root, "dog_val.txt", "", "", "1", "1")
    (root / "ImageSets/Main/cat_train.txt").write_text(lines)
    ((photo, said),) = aside(root, LISTS)
    assert (photo, reason in said) == ("1.jpg", True)


def test_a_class_of_which_no_photo_is_there_is_an_error(root: Path) -> None:
    of_class(root, "cat_train.txt", "1", "-1")
    of_class(root, "cat_val.txt", "", "", "1", "1")
    (root / "ImageSets/Main/rare_train.txt").write_text("2008_1 1\n")
    with pytest.raises(UserError, match=r"rare_train\.txt .* as '2008_1', .* as '2007_1'"):
        list(rows(root, LISTS))
    (root / "ImageSets/Main/rare_train.txt").write_text("2008_1 1\n2007_1 1\n")
    assert aside(root, LISTS) == [("", "a class's list has a photo that its set does not have")]


def test_sets_of_one_kind(root: Path) -> None:
    (root / "ImageSets/Main/val.txt").unlink()
    assert [(row.subset, row.part) for row in by_id(root).values()] == [
        *[("train", None)] * 4,  # trainval.txt
        ("test", None),
    ]
    for name in ("train", "trainval", "test"):
        (root / "ImageSets/Main" / f"{name}.txt").unlink()
    with pytest.raises(UserError, match=r"neither train\.txt nor trainval\.txt"):
        list(rows(root, OPTIONS))
    (root / "ImageSets/Main/default.txt").write_text("2007_1\n")  # CVAT
    assert list(by_id(root)) == ["1"]


BOMB = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><annotation>&b;{}'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<annotation><object>", "is not XML"),
        (b"", "is not XML"),
        (BOMB.format("</annotation>").encode(), "document type"),
        (BOMB.format("</annotation>").encode("utf-16"), "document type"),
        (b"<?xml version='1.0' encoding='klingon'?><annotation/>", "is not XML"),
        (b"<annotation><object><pose/></object></annotation>", "without <name>"),
        (b"<html><body/></html>", "no <annotation>"),
    ],
)
def test_an_annotation_that_cannot_be_read(root: Path, content: bytes, reason: str) -> None:
    (root / "Annotations" / "2007_2.xml").write_bytes(content)
    ((photo, said),) = aside(root)
    assert (photo, reason in said) == ("2.jpg", True)


def test_options_that_name_no_labels(root: Path) -> None:
    with pytest.raises(UserError, match="both null"):
        list(rows(root, LISTS.model_copy(update={"sets": None})))
    with pytest.raises(UserError, match=r"no lists of classes .*pascal-voc\.annotations"):
        list(rows(root, LISTS))
    with pytest.raises(UserError, match="nowhere is no folder"):
        list(rows(root, OPTIONS.model_copy(update={"photos": "nowhere"})))
