"""``kaggle-csv``: ``ImageID,Labels,Caption`` for train, ``ImageID,Caption`` for test, a folder.

Captions may hold quotes that are not doubled, and line breaks. Labels may be written as a list, in
Python's way or JSON's.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from stages import UserError
from stages.csv_tables import parse
from stages.ingest.sources import Row, Unreadable, joined, read_text
from stages.ingest.tables.cells import KEPT, NOT_KNOWN, LabelCell, Values
from stages.params import Section

# Few photos have labels that no other has; and 0 and 1 are names here.
labels_of = lru_cache(KEPT)(
    LabelCell("Labels", None, Values([1, True], [0, False], [""]), are_bits=False)
)
LABELLED = ("ImageID,Labels,Caption", "ImageID,Labels")
HEADERS = {"train": LABELLED, "test": ("ImageID,Caption", "ImageID", *LABELLED)}

MAY_LACK = ("train", "test")


class Options(Section):
    train: str | None
    test: str | None
    photos: str


def rows(root: Path, options: Options) -> Iterator[Row | Unreadable]:
    for subset, file in (("train", options.train), ("test", options.test)):
        if file is None:
            continue
        header, records = parse(read_text(root, file))
        if ",".join(header) not in HEADERS[subset]:
            raise UserError(
                f"{root / file}: the header is {','.join(header)[:80]!r}; it must be "
                f"{' or '.join(HEADERS[subset])}"
            )
        line = None
        for line, fields in records:
            if isinstance(fields, str):
                yield Unreadable(file, line, fields)
                continue
            record = dict(zip(header, fields, strict=True))
            try:
                labels, _ = labels_of(record["Labels"]) if "Labels" in record else NOT_KNOWN
            except ValueError as error:
                yield Unreadable(file, line, str(error))
                continue
            yield Row(
                file=file,
                row=line,
                id=record["ImageID"],
                photo=joined(options.photos, record["ImageID"]),
                subset=subset,
                # Nothing said of a test photo does not mean that it has none.
                labels=labels or None if subset == "test" else labels,
                caption=record.get("Caption") or None,
            )
        if line is None:
            raise UserError(f"{root / file} holds a header and no record (for {subset})")
