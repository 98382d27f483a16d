"""Each row of docs/data.md on tables and labels: read with the lines that it gives."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from stages.ingest import sources
from stages.ingest.label_rules import LabelRules
from stages.ingest.listing import list_rows
from stages.ingest.params import Ingest
from tests.conftest import ROOT

yaml = YAML(typ="safe")
INGEST: dict[str, Any] = yaml.load(ROOT / "params.yaml")["ingest"]


def rows_of(section: str) -> list[list[list[str]]]:
    """The code in each cell of each row of a section's table."""
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    section = text.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \|$", section, re.MULTILINE)[1:]
    code = [
        [re.findall(r"`([^`]+)`", cell) or [cell] for cell in re.split(r" \| ?", row)]
        for row in rows
    ]
    return [[[each.replace(r"\|", "|") for each in cell] for cell in row] for row in code]


def ingest(lines: list[str], **more: Any) -> Ingest:
    params = INGEST | yaml.load("\n".join(lines)) | {"source": "table", "root": "."} | more
    params["table"] = INGEST["table"] | params["table"]
    return Ingest.model_validate(params)


def hugging_face() -> None:
    feature = {"feature": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "_type": "Sequence"}
    notes = {"huggingface": json.dumps({"info": {"features": {"labels": feature}}})}
    images = [{"bytes": b"1", "path": "1.jpg"}, {"bytes": b"2", "path": None}]
    table = pl.DataFrame({"image": images, "labels": [[0, 1], []]})
    table.write_parquet("data/train-00000-of-00001.parquet", metadata=notes)


TABLES = rows_of("Tables")
LATE, OPEN = "/m/0284d", "/m/011k07"
AT, BUCKET = "https://example.org/photos/{}", "s3://bucket/2.jpg"
EDEMA = "CheXpert-v1.0-small/train/patient0000{}/study{}/view1_frontal.jpg"
EXPECTED: list[dict[str, tuple[list[str] | None, list[str]]]] = [
    {"1.jpg": (["cat", "dog"], []), "2.jpg": ([], [])},
    {"1.jpg": (["Action", "Drama"], []), "2.jpg": ([], []), "3.jpg": (None, [])},
    {"1.jpg": (["cat"], ["eel"])},
    {"1.jpg": (["cat", "eel"], []), "2.jpg": (["dog", "eel"], [])},
    {"1.jpg": (["cat"], []), "2.jpg": ([], ["cat"])},
    {"000001.jpg": (["Young"], [])},
    {EDEMA.format(1, 1): ([], []), EDEMA.format(2, 2): (["Fracture"], ["Edema"])},
    {"00000001_000.png": (["Cardiomegaly", "Effusion"], []), "00000002_000.png": ([], [])},
    {"train_0": (["haze", "primary"], [])},
    {"1.jpg": (["big dog", "cat"], []), "2.jpg": ([], [])},
    {"000a": ([OPEN], []), "000b": ([LATE], [OPEN])},
    {"000a": ([OPEN], [LATE]), "000b": ([], [])},
    {"1.jpg": (["cat"], []), "2.jpg": (["dog"], []), "3.jpg": (None, [])},
    {"1.jpg": (["cat"], []), "2.jpg": (["dog"], []), "3.jpg": (None, [])},
    {"1.jpg": (["cat", "dog"], []), "2.jpg": ([], [])},
    {"1.jpg": (["cat"], [])},
    {AT.format("1.jpg?size=large"): (["cat"], []), BUCKET: (["dog"], []), "3.jpg": (["dog"], [])},
    {"1": (["cat"], [])},
    {"1.jpg": (["cat", "dog"], []), "data/train-00000-of-00001.parquet:2": ([], [])},
]
PHOTOS = {
    "000001.jpg": "img_align_celeba/000001.jpg",
    EDEMA.format(2, 2): f"./{EDEMA.format(2, 2)}",
    "00000001_000.png": "images_001/images/00000001_000.png",
    "00000002_000.png": "images_002/images/00000002_000.png",
    "train_0": "train-jpg/train_0.jpg",
    "000a": "photos/000a.jpg",
    AT.format("1.jpg?size=large"): AT.format("1.jpg?size=large"),
    BUCKET: BUCKET,
    "3.jpg": "photos/3.jpg",
    "1": "s3://bucket/photos/1.jpg",
}


def lay_out(row: list[list[str]]) -> None:
    """Writes the sample of a row to the current folder."""
    _, (file, *sample), _ = row
    Path("data").mkdir(exist_ok=True)
    if file.endswith(".parquet"):
        hugging_face()
    else:
        samples: dict[str, list[str]] = {}
        for line in (file, *sample):
            if re.fullmatch(r"[\w.-]+\.(csv|jsonl)", line):
                lines = samples.setdefault(line, [])
            else:
                lines.append(line)
        for name, lines in samples.items():
            Path(name).write_text("\n".join(lines), "utf-8")
    for photo in PHOTOS.values():
        if photo.startswith("images_") and "images_" in "".join(row[2]):
            Path(photo).parent.mkdir(parents=True)
            Path(photo).touch()


NAMES = [name for (name,), *_ in TABLES]


@pytest.mark.parametrize(("row", "expected"), [*zip(TABLES, EXPECTED, strict=True)], ids=NAMES)
def test_a_shape_of_the_docs(in_tmp: Path, row: Any, expected: dict[str, Any]):
    lay_out(row)
    *_, lines = row
    params = ingest(lines)
    listing = list_rows(params, LabelRules(params), in_tmp)
    assert listing.rejected == []
    found = listing.rows.scan().collect()
    labels = [listing.label_lists[place] for place in found["label_list"]]
    assert {
        id: (None if said.names is None else list(said.names), list(said.unknown))
        for id, said in zip(found["id"], labels, strict=True)
    } == expected
    for id, photo in found.select("id", "photo").iter_rows():
        if id in PHOTOS:
            assert photo == PHOTOS[id]
    if "group" in lines[0]:
        assert found["group"].drop_nulls().to_list() in (["1", "2"], ["lake", "hill"])
    if "subset" in lines[0] or "validation" in lines[0]:
        assert found["part"].to_list() == ["train", "validation", None]
        assert found["subset"].to_list() == ["train", "train", "test"]
    if "time" in lines[0]:
        assert found["time"].null_count() == 1
    assert sources.columns(params) is not None


LABELS = rows_of("Labels")


@pytest.mark.parametrize("row", LABELS, ids=[name for (name,), *_ in LABELS])
def test_a_rule_of_the_docs(in_tmp: Path, row: Any):
    _, lines, (before,), (after,) = row
    Path("photos.csv").write_text(f'id,labels\n1.jpg,"{before}"\n')
    params = ingest(["table: {separator: ','}", *lines])
    listing = list_rows(params, LabelRules(params), in_tmp)
    if "set aside" in after:
        assert [reason for *_, reason in listing.rejected] == ["not in ingest.labels: eel"]
        return
    (labels,) = listing.label_lists
    names = sorted(labels.names or (), key=(params.labels or after).index)
    assert names == [name for name in after.split(", ") if name.strip()]
