"""Files of a million rows, read by ``ingest``'s sources beside a plain read of the same files.

The plain read is that of the library which reads such a file (csv, json, Polars), and makes a
``Row`` of each of its rows without a look at what they say. Seconds are those of the processor.
"""

import csv
import gc
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from ruamel.yaml import YAML

from benchmarks.table import Options, Row, in_turn, main
from stages.ingest import sources
from stages.ingest.params import Ingest

ROOT = Path(__file__).parents[1]
ROWS = 1_000_000
LABELS = [f"Label {number}" for number in range(14)]
RATE = 0.15  # of photos that carry a label
IN_LONG_FORM = 5  # rows of a photo

Plain = Iterator[sources.Row]


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    count = options.scaled(ROWS)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        write_files(folder, count)
        for what, keys, plain in (
            ("0 and 1, CSV", {"file": "ones.csv", "labels": None}, plain_csv),
            ("label lists, CSV", {"file": "lists.csv", "separator": "|"}, plain_csv),
            ("long form, CSV", {"file": "long.csv", "labels": "label", "long": True}, plain_long),
            ("label lists, JSON Lines", {"file": "lists.jsonl"}, plain_lines),
            ("0 and 1, Parquet", {"file": "ones.parquet", "labels": None}, plain_parquet),
            ("label lists, Parquet", {"file": "lists.parquet"}, plain_parquet),
        ):
            read_plainly = partial(plain, folder / keys["file"])
            figures = measured(options, folder, "table", keys, read_plainly)
            yield Row(f"{count:,} rows, {what}", "a plain read", "s", *figures, "≤ 2")
        keys = {"instances": "coco.json"}
        figures = measured(options, folder, "coco-json", keys, partial(plain_coco, folder))
        yield Row(f"{count // 4:,} images, COCO", "a plain read", "s", *figures, "≤ 2")


def measured(
    options: Options, folder: Path, source: str, keys: dict, plain: Callable[[], Plain]
) -> tuple[list[float], list[float]]:
    """Seconds of our source and of the plain read, for each repeat."""
    section = YAML(typ="safe").load(ROOT / "params.yaml")["ingest"]
    section |= {"source": source, "root": str(folder), source: section[source] | keys}
    params = Ingest.model_validate(section)
    return in_turn(options.repeats, lambda: seconds(sources.rows(params)), lambda: seconds(plain()))


def seconds(of: Iterator[sources.Row | sources.Unreadable]) -> float:
    """Of the processor, to go through all rows; all of them are photos."""
    gc.collect()
    start = time.process_time()
    for row in of:
        assert isinstance(row, sources.Row), row
    return time.process_time() - start


def row(number: int, id: str, labels: list[str]) -> sources.Row:
    return sources.Row("file", number, id, f"photos/{id}", "train", labels, None)


def plain_csv(path: Path) -> Plain:
    with path.open(newline="", encoding="utf-8") as file:
        for number, cells in enumerate(csv.reader(file), 1):
            yield row(number, cells[0], cells)


def plain_long(path: Path) -> Plain:
    labels: dict[str, list[str]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for id, label in csv.reader(file):
            labels.setdefault(id, []).append(label)
    for number, id in enumerate(labels, 1):
        yield row(number, id, labels[id])


def plain_lines(path: Path) -> Plain:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            content = json.loads(line)
            yield row(number, content["id"], content["labels"])


def plain_parquet(path: Path) -> Plain:
    for number, (id, *cells) in enumerate(pl.read_parquet(path).iter_rows(), 1):
        yield row(number, id, cells)


def plain_coco(folder: Path) -> Plain:
    content = json.loads((folder / "coco.json").read_text("utf-8"))
    names = {category["id"]: category["name"] for category in content["categories"]}
    labels: dict[int, list[str]] = {}
    for each in content["annotations"]:
        labels.setdefault(each["image_id"], []).append(names[each["category_id"]])
    for number, image in enumerate(content["images"], 1):
        yield row(number, image["file_name"], labels.get(image["id"], []))


def write_files(folder: Path, count: int) -> None:
    """Tables of ``count`` rows, and a COCO file of a fourth as many images."""
    carried = np.random.default_rng(7).random((count, len(LABELS))) < RATE
    names = np.asarray(LABELS, object)
    ids = [f"{number:07}.jpg" for number in range(count)]
    lists = [list(names[each]) for each in carried]
    ones = pl.DataFrame({"id": ids}).hstack(pl.DataFrame(carried.astype(int), LABELS))
    ones.write_csv(folder / "ones.csv")
    ones.write_parquet(folder / "ones.parquet")
    table = pl.DataFrame({"id": ids, "labels": lists})
    table.write_parquet(folder / "lists.parquet")
    table.write_ndjson(folder / "lists.jsonl")
    table.with_columns(pl.col("labels").list.join("|")).write_csv(folder / "lists.csv")
    long = pl.DataFrame({"id": np.repeat(ids[: -(-count // IN_LONG_FORM)], IN_LONG_FORM)[:count]})
    long.with_columns(label=pl.Series(np.resize(names, count))).write_csv(folder / "long.csv")

    images = count // 4
    content = {
        "images": [{"id": at, "file_name": ids[at]} for at in range(images)],
        "categories": [{"id": at, "name": name} for at, name in enumerate(LABELS)],
        "annotations": [
            {"id": at, "image_id": int(image), "category_id": int(label)}
            for at, (image, label) in enumerate(np.argwhere(carried[:images]))
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content), "utf-8")


if __name__ == "__main__":
    main(rows, __file__)
