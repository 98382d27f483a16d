"""What ingest has understood: the labels and their photos, and what is probably a mistake."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from stages.files import write_csv
from stages.ingest.sources import Columns

LABELS = Path("metrics/ingest/labels.csv")
SHOWN = 5  # of the most frequent labels, of the least frequent, and of those that are in doubt
COLUMNS = 20
LETTERS = 40  # of a name

BRACKETS = re.compile(r"""[\[\]{},;]|^(["']).*\1$""")  # also a name in quotes
BETWEEN = "/+&:_- "  # what may stand between labels, and may as well be a part of a name
ANSWERS = {"0", "1", "-1", "0.0", "1.0", "-1.0", "true", "false", "yes", "no"}

SET_SEPARATOR = {
    "table": "set ingest.table.separator to what stands between labels",
    "kaggle-csv": "what stands between labels is a blank in kaggle-csv; for another, set "
    "ingest.source to table, and ingest.table.separator",
}
SET_COLUMNS = {"table": "set ingest.table.labels to the list of the columns that hold them"}
RENAME = "if so, give them other names (ingest.rename)"


def count_labels(table: pl.LazyFrame, names: list[str]) -> pl.DataFrame:
    """How many photos carry each label, and of how many it is known whether they do.

    Args:
        table: ``labels`` and ``unknown`` as records have them.
        names: of all labels.

    Returns:
        ``label``, ``photos`` and ``known``, in the order of ``names``.
    """
    counts = pl.DataFrame({"label": names}, {"label": pl.String})
    for column in ("labels", "unknown"):
        each = table.select(label=pl.col(column).explode(empty_as_null=False)).drop_nulls()
        found = each.group_by("label").len(column).collect(engine="streaming")
        counts = counts.join(found, "label", "left", maintain_order="left")
    labelled = table.select(pl.col("labels").count()).collect(engine="streaming").item()
    photos, unknown = (pl.col(name).fill_null(0) for name in ("labels", "unknown"))
    return counts.select("label", photos=photos, known=labelled - unknown)


def write(counts: pl.DataFrame) -> None:
    """Writes ``LABELS``: what ``count_labels`` has found."""
    write_csv(LABELS, counts.columns, counts.iter_rows())


def lines(counts: pl.DataFrame, figures: dict[str, Any], columns: Columns | None) -> Iterator[str]:
    """What a person sees first of the labels.

    Args:
        counts: from ``count_labels``.
        figures: those of ``metrics/ingest.json``.
        columns: of a source that has some.
    """
    ordered = counts.sort("photos", descending=True, maintain_order=True)
    each = [f"{_short(label)} ({photos:,})" for label, photos, _ in ordered.iter_rows()]
    if len(each) > 2 * SHOWN:
        most, fewest = ", ".join(each[:SHOWN]), ", ".join(each[-SHOWN:])
        yield f"{len(each):,} labels and their photos: {most} … {fewest}; {LABELS} has all"
    elif each:
        yield f"{len(each)} labels and their photos: {', '.join(each)}"
    else:
        yield "no photo carries a label"
    without, unknown, partly = (
        figures[f"photos_{which}"]
        for which in ("without_label", "with_unknown_labels", "with_partly_known_labels")
    )
    some = f"; of whose labels some are not known: {partly:,}" if partly else ""
    yield f"photos without a label: {without:,}; whose labels are not known: {unknown:,}{some}"
    if columns:
        taken, unused = column_names(columns).values()
        yield f"columns taken as labels: {taken}; not used: {unused or 'none'}"


def column_names(columns: Columns) -> dict[str, str]:
    """The columns as figures name them: there may be very many."""
    return {what: _few(names, COLUMNS) for what, names in columns._asdict().items()}


def doubts(counts: pl.DataFrame, source: str) -> list[str]:
    """What is most likely a mistake, each with what to do about it.

    Args:
        counts: from ``count_labels``.
        source: ``ingest.source``.
    """
    names = counts["label"].to_list()
    return [
        *_several_in_one(names, source),
        *_almost_alike(names),
        *_answers(names, source),
        *_too_few_or_all(counts),
    ]


def _several_in_one(names: list[str], source: str) -> Iterator[str]:
    remedy = SET_SEPARATOR.get(source, RENAME)
    if odd := [name for name in names if BRACKETS.search(name)]:
        yield (
            "labels that may be several in one, for their brackets, commas, semicolons or quotes: "
            f"{_few(map(repr, odd))}; {remedy}"
        )
    there = set(names)
    for between in BETWEEN:
        holding = [name for name in names if between in name]
        joined = [name for name in holding if there.issuperset(map(str.strip, name.split(between)))]
        if 2 * len(joined) > len(holding):
            yield (
                f"labels that may be several in one, for others stand beside {between!r} in them: "
                f"{_few(map(repr, joined))}; {remedy}"
            )


def _almost_alike(names: list[str]) -> Iterator[str]:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        alike[re.sub(r"[\s_-]+", " ", name).casefold()].append(name)
    if groups := [" = ".join(map(_short, group)) for group in alike.values() if len(group) > 1]:
        yield (
            f"labels that differ only in case, blanks or hyphens: {_few(groups)}; if they mean the "
            "same, give them one name (ingest.rename)"
        )


def _answers(names: list[str], source: str) -> Iterator[str]:
    if names and ANSWERS.issuperset(map(str.casefold, names)):
        remedy = SET_COLUMNS.get(source, RENAME)
        yield f"labels whose names are rather answers: {_few(names)}; {remedy}"


def _too_few_or_all(counts: pl.DataFrame) -> Iterator[str]:
    def labels(which: pl.Expr) -> str:
        return _few(counts.filter(which)["label"])

    photos, known = pl.col("photos"), pl.col("known")
    if never := labels(photos == 0):
        yield f"labels on no photo: {never}; spell them in ingest.labels as the source does"
    if once := labels(photos == 1):
        yield (
            f"labels on one photo only: {once}; nobody can learn from it and be tested: add "
            "photos, or name the label in ingest.ignore"
        )
    if every := labels((photos == known) & (known > 1)):
        yield (
            f"labels on every photo: {every}; nothing can be learnt of them: add photos without "
            "the label, or name it in ingest.ignore"
        )


def _few(names: Iterable[str], most: int = SHOWN) -> str:
    shown = [_short(name) for name in names]
    rest = f" and {len(shown) - most:,} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + rest


def _short(name: str) -> str:
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"
