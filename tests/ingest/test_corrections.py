"""The overlay of corrected labels, as people save it, well and badly."""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from stages import UserError
from stages.ingest import corrections, records, spool

FOLDER = Path("data/corrections")
FILE = FOLDER / "one.csv"
SOURCE = {"a.jpg": "cat", "b.jpg": "cat dog", "c.jpg": "", "d.jpg": "dgo", "e.jpg": "dog"}
GIVEN = {id: labels.split() for id, labels in SOURCE.items()} | {"t.jpg": None}


@pytest.fixture
def take_in(in_tmp: Path, photo: Callable[..., bytes], ingest: Callable[..., None]):
    """Runs the stage on five photos and one for test, with this text as corrections."""
    (in_tmp / "raw/photos").mkdir(parents=True)
    for number, id in enumerate(GIVEN):
        (in_tmp / "raw/photos" / id).write_bytes(photo(number))
    rows = [f"{id},{labels},train" for id, labels in SOURCE.items()] + ["t.jpg,,test"]
    (in_tmp / "raw/photos.csv").write_text("\n".join(["id,labels,subset", *rows]))

    def run(text: str | bytes, **keys: object) -> dict[str, list[str] | None]:
        FOLDER.mkdir(parents=True, exist_ok=True)
        FILE.write_bytes(text.encode() if isinstance(text, str) else text)
        ingest("table", {"subset": "subset"}, **keys)
        return dict(records.read().select("id", "labels").iter_rows())

    return run


def set_aside() -> dict[str, str]:
    with Path("data/rejected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} <= {str(FILE)}
    return {row["row"]: row["reason"] for row in rows}


def checked() -> list[str]:
    with Path("data/checked.csv").open(newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


def counted() -> tuple[int, int, int]:
    return tuple(json.loads(Path("metrics/ingest.json").read_text())["corrections"].values())


def raw() -> dict[Path, str]:
    files = [file for file in Path("raw").rglob("*") if file.is_file()]
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_projects_own_folder_can_be_read() -> None:
    assert corrections.read(Path(__file__).parents[2] / FOLDER).rejected == []


@pytest.mark.parametrize("part", [spool.PART, 2])
def test_labels_are_put_right(
    take_in, part: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert take_in("id,labels\n") == GIVEN
    assert records.read_label_names() == ["cat", "dgo", "dog"]
    assert counted() == (0, 0, 0)
    assert checked() == []
    output = capsys.readouterr().out
    assert output.startswith("ingest: 6 photos, 6 decoded, 0 rows set aside\n")
    assert "corrections" not in output
    before = raw()
    monkeypatch.setattr(spool, "PART", part)
    labels = take_in("id,labels\nd.jpg,dog\nt.jpg,cat|dog\nb.jpg, dog | cat |\na.jpg,\n")
    right = {"a.jpg": [], "d.jpg": ["dog"], "t.jpg": ["cat", "dog"]}
    assert labels == GIVEN | right
    assert list(labels) == list(GIVEN)  # in the source's order
    assert records.read_label_names() == ["cat", "dog"]  # no photo carries the other any more
    assert counted() == (4, 3, 0)
    assert checked() == ["a.jpg", "b.jpg", "d.jpg", "t.jpg"]
    assert raw() == before
    output = capsys.readouterr().out
    assert "ingest: 6 photos, 0 decoded, 0 rows set aside\n" in output
    assert "4 corrections applied, 3 of them other than the source, 0 set aside" in output
    assert take_in("id,labels\n") == GIVEN


def test_it_is_told_where_a_correction_takes_the_last_label(take_in, capsys) -> None:
    take_in("id,labels,unknown\na.jpg,,\nc.jpg,,\nb.jpg,dog,\ne.jpg,,cat\n")
    (warning,) = (line for line in capsys.readouterr().out.splitlines() if "last label" in line)
    assert warning.startswith("ingest: warning: corrections that take the last label from a photo:")
    assert f"{FILE} row 2 (a.jpg), {FILE} row 5 (e.jpg); " in warning
    assert "b.jpg" not in warning and "c.jpg" not in warning
    take_in("id,labels\na.jpg,dog\n")
    assert "last label" not in capsys.readouterr().out


def test_columns_in_any_order_and_cells_of_several_lines(take_in) -> None:
    rows = ['caption,labels,"in doubt",id', '"two\nlines, ""quoted""",dog,"also dog",a.jpg']
    labels = take_in("\r\n".join(["\ufeff" + rows[0], rows[1], "", "=1+1,cat,,e.jpg", ""]))
    assert labels == GIVEN | {"a.jpg": ["dog"], "e.jpg": ["cat"]}
    assert set_aside() == {}


def test_what_is_not_known_stays_unknown(take_in) -> None:
    """Of ``unknown``, what stands among the labels counts as a label."""
    take_in("id,labels,unknown\na.jpg,dog,cat|dog\nb.jpg,cat,\n")
    columns = records.read().filter(pl.col("id").is_in(["a.jpg", "b.jpg"]))
    assert columns.select("labels", "unknown").rows() == [(["dog"], ["cat"]), (["cat"], None)]
    assert checked() == ["a.jpg", "b.jpg"]


def test_what_cannot_be_applied_is_set_aside_with_its_reason(take_in) -> None:
    rows = [
        "x.jpg,dog",  # 2
        "a.jpg,dog|wolf|fox",
        "b.jpg,cat",  # 4
        "b.jpg,dog",
        "e.jpg,cat|dog",  # 6
        "e.jpg,dog|cat",
        " ,dog",  # 8
        "c.jpg,dog,cat",
        "d.jpg",  # 10
        "A.JPG,dog",
    ]
    labels = take_in("\n".join(["id,labels", *rows]), max_rejected=0)
    assert labels == GIVEN | {"e.jpg": ["cat", "dog"]}
    twice = f"corrected to different labels: {FILE} row 4, {FILE} row 5; keep one of them"
    assert set_aside() == {
        "2": "no record has this id",
        "3": "not among the labels (see ingest.labels): fox, wolf",
        "4": twice,
        "5": twice,
        "8": "the id is empty",
        "9": "3 cells where the header has 2",
        "10": "1 cells where the header has 2",
        "11": "no record has this id",
    }
    assert counted() == (1, 1, 8)
    assert checked() == ["e.jpg"]


def test_files_say_together_what_is_right(take_in) -> None:
    take_in("id,labels\na.jpg,dog\nb.jpg,cat\nc.jpg,\n")
    # As a spreadsheet saves it: a byte order mark, and no end of the last line.
    other = "\ufefflabels,id,note\r\ncat,b.jpg,checked\r\ncat,a.jpg,\r\ndog,d.jpg,"
    (FOLDER / "two.CSV").write_text(other)
    (FOLDER / "notes.txt").write_text("no file of corrections")
    labels = take_in(FILE.read_bytes())
    assert labels == GIVEN | {"b.jpg": ["cat"], "d.jpg": ["dog"]}
    assert checked() == ["b.jpg", "c.jpg", "d.jpg"]
    with Path("data/rejected.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    two = str(FOLDER / "two.CSV")
    why = f"corrected to different labels: {FILE} row 2, {two} row 3; keep one of them"
    assert rows == [(str(FILE), "2", "a.jpg", why), (two, "3", "a.jpg", why)]


def test_labels_are_those_of_the_parameter(take_in) -> None:
    text = "id,labels\na.jpg,owl\nb.jpg,dgo|cow\n"
    assert take_in(text, labels=["owl", "dog", "cat", "dgo"]) == GIVEN | {
        "a.jpg": ["owl"],
        "b.jpg": ["dog", "cat"],
    }
    assert set_aside() == {"3": "not among the labels (see ingest.labels): cow"}
    assert records.read_label_names() == ["owl", "dog", "cat", "dgo"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs one column id, but its header is ''"),
        ("id\na.jpg\n", "needs one column labels, but its header is 'id'"),
        ("labels\ncat\n", "needs one column id, but"),
        ("id;labels\na.jpg;cat\n", "with a comma between the columns"),
        ("ID,labels\na.jpg,cat\n", "needs one column id, but its header is 'ID,labels'"),
        ("id,labels,labels\na.jpg,cat,dog\n", "needs one column labels, but"),
        ('id,labels\na.jpg,"cat\nb.jpg,dog\n', "a cell's quote seems not to be closed"),
        ('"id,labels\n', "the header is not CSV"),
        (b"id,labels\nb\xe4r.jpg,cat\n", "is not UTF-8 text: byte 11 is wrong"),
        ("id,labels\n".encode("utf-16"), "is not UTF-8 text: byte 0 is wrong"),
    ],
)
def test_a_file_that_cannot_be_read_ends_the_stage(
    take_in, text: str | bytes, message: str
) -> None:
    with pytest.raises(UserError) as error:
        take_in(text)
    assert message in str(error.value)
    assert str(error.value).startswith(str(FILE))
    assert "\n" not in str(error.value)
    assert not records.RECORDS.exists()


def test_a_link_is_not_read(take_in, tmp_path: Path) -> None:
    elsewhere = tmp_path / "secret.csv"
    elsewhere.write_text("id,labels\na.jpg,cat\n")
    link = FILE.with_name("link.csv")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)
    with pytest.raises(UserError, match=rf"{link} is a link"):
        take_in("id,labels\na.jpg,dog\n")
    assert not records.RECORDS.exists()


@pytest.mark.parametrize("place", ["data/other", str(FILE)])
def test_what_is_no_folder_ends_the_stage(take_in, place: str) -> None:
    with pytest.raises(UserError, match=rf"ingest.corrections: {place} is no folder; make one"):
        take_in("id,labels\n", corrections=place)


def test_exports_of_tools_are_corrections(take_in) -> None:
    """Of a photo that was skipped they say nothing; of choices that differ, nothing sure."""

    def task(id: str, *lists: list[str], **more: object) -> dict[str, object]:
        annotations = [
            {"result": [{"from_name": "labels", "value": {"choices": names}}]} | more
            for names in lists
        ]
        return {"data": {"image": f"/x/{id}", "photo_id": id}, "annotations": annotations}

    FOLDER.mkdir(parents=True)
    tasks = [
        task("a.jpg", ["cat", "dog"]),
        task("c.jpg", ["cat"], ["cat", "dog"]),
        task("b.jpg", ["eel"], was_cancelled=True),
    ]
    (FOLDER / "label-studio.json").write_text(json.dumps(tasks))
    images = '<image name="d.jpg"><tag label="cat"/></image><image name="t.jpg"/>'
    (FOLDER / "cvat.xml").write_text(f"<annotations>{images}</annotations>")
    right = {"a.jpg": ["cat", "dog"], "c.jpg": ["cat"], "d.jpg": ["cat"], "t.jpg": []}
    assert take_in("id,labels\n", labels=["cat", "dog"], rename={"dgo": "dog"}) == GIVEN | right
    assert checked() == ["a.jpg", "c.jpg", "d.jpg", "t.jpg"]
    unknown = dict(records.read().select("id", "unknown").iter_rows())
    assert unknown["c.jpg"] == ["dog"]
    (FOLDER / "cvat.xml").write_text("<annotations>")
    with pytest.raises(UserError, match=r"cvat\.xml is not XML"):
        take_in("id,labels\n")
