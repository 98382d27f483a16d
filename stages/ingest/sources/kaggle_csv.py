"""``kaggle-csv``: ``ImageID,Labels,Caption`` for train, ``ImageID,Caption`` for test, a folder.

Captions may hold quotes that are not doubled, and line breaks.
"""

from collections.abc import Iterator
from pathlib import Path

from stages import UserError
from stages.csv_tables import parse
from stages.ingest.sources import Row, Unreadable, read_text
from stages.params import Section

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
            labels = record["Labels"].split() if "Labels" in record else None
            yield Row(
                file=file,
                row=line,
                id=record["ImageID"],
                photo=f"{options.photos}/{record['ImageID']}",
                subset=subset,
                # Nothing said of a test photo does not mean that it has none.
                labels=labels or None if subset == "test" else labels,
                caption=record.get("Caption") or None,
            )
        if line is None:
            raise UserError(f"{root / file} holds a header and no record (for {subset})")
