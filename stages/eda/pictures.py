"""The tables of ``statistics`` as pictures for reading.

Each shows as many labels as can still be read, the most frequent ones, and says so.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from stages import figures
from stages.eda.overview import Overview
from stages.eda.statistics import alone, named
from stages.ingest.images import ImageStore
from stages.ingest.records import SUBSETS

MOST_LABELS = 100  # bars, and rows of the heat map
MOST_ANNOTATED = 25  # labels of a heat map with numbers in its cells
MOST_SETS = 20  # label sets, and sizes
MOST_PANELS = 24  # labels with a panel of words
MOST_PHOTOS = 120  # on the contact sheet
SHEET_COLUMNS = 8


def draw(overview: Overview, store: ImageStore, count: int) -> Iterator[tuple[str, Figure]]:
    """The pictures, each with its name; those that would be empty are left out.

    ``count`` photos of each label are shown, out of ``store``.
    """
    names = overview.label_names
    yield "sizes", sizes(overview.sizes)
    if names and len(overview.labelled):
        yield "labels", labels(overview.labels, len(overview.labelled), overview.missing[1])
        yield "label_sets", label_sets(named(overview.sets), overview.per_photo)
        yield "cooccurrence", cooccurrence(overview)
        table = alone(overview.labelled, names, count)
        if len(table):
            photos = store.gather(table["image"].to_numpy())
            yield "examples", examples(table, photos, names, count)
    if len(overview.caption_lengths):
        yield "caption_lengths", caption_lengths(overview.caption_lengths, SUBSETS)
    if len(overview.top_words):
        title = "The words that most captions of a label hold"
        yield "top_words", words(overview.top_words, "share", "{:.0%}", title, names)
    if len(overview.telling_words):
        title = "The words that point to a label most: normalised mutual information, 1 at most"
        yield "telling_words", words(overview.telling_words, "npmi", "{:.2f}", title, names)


def labels(table: pl.DataFrame, labelled: int, missing: Sequence[int]) -> Figure:
    """Bars of ``per_label``; ``labelled``: photos whose labels are known; ``missing``: ids."""
    shown = table.head(MOST_LABELS)
    figure = figures.new(
        7.5,
        1.0 + 0.26 * len(shown),
        f"How many of the {labelled:,} labelled photos carry each label" + _limit(shown, table),
    )
    texts = [f"{photos:,}  {rate:.1%}" for _, photos, rate, *_ in shown.iter_rows()]
    if "known" in shown.columns:
        texts = [f"{text} of {known:,}" for text, known in zip(texts, shown["known"], strict=True)]
    axes = figure.subplots()
    figures.bars(axes, shown["label"].to_list(), shown["photos"].to_list(), texts)
    if missing:
        figures.titled(axes, f"No label has the number {_listed(missing)}.")
    return figure


def label_sets(sets: pl.DataFrame, per_photo: pl.DataFrame) -> Figure:
    """Bars of ``labels_per_photo`` beside those of the most frequent sets.

    ``sets`` has the columns ``set``, a name, and ``photos``.
    """
    numbers, shown = per_photo.head(MOST_SETS), sets.head(MOST_SETS)
    mean = _mean(per_photo["labels"], per_photo["photos"])
    slots = max(len(numbers), len(shown))
    figure = figures.new(11, 1.2 + 0.26 * slots, f"{mean:.2f} labels on a photo on average")
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    names = [str(number) for number in numbers["labels"]]
    figures.bars(left, names, numbers["photos"].to_list(), _counts(numbers), slots)
    figures.titled(left, "Photos with so many labels" + _limit(numbers, per_photo, "numbers"))
    figures.bars(right, shown["set"].to_list(), shown["photos"].to_list(), _counts(shown), slots)
    figures.titled(right, "Photos with just these labels" + _limit(shown, sets, "sets"))
    return figure


def cooccurrence(overview: Overview) -> Figure:
    """Heat map of which label comes with which."""
    table = overview.labels
    shown = table.head(MOST_LABELS)
    counts, carriers = (
        matrix[: len(shown), : len(shown)] for matrix in (overview.cooccurrence, overview.carriers)
    )
    share = np.where(np.eye(len(shown), dtype=bool), np.nan, counts / np.maximum(carriers, 1))
    annotated = len(shown) <= MOST_ANNOTATED
    side = 2.0 + len(shown) * (0.4 if annotated else 0.15)
    figure = figures.new(
        max(side + 2.2, 7.5), max(side, 3.0), "Which label comes with which" + _limit(shown, table)
    )
    axes = figure.subplots()
    texts = np.where(np.isnan(share), "", counts.astype(str)) if annotated else None
    names = shown["label"].to_list()
    image = figures.heat_map(axes, share, names, names, texts)
    if annotated:
        figures.titled(axes, "In the cells: photos that carry both.")
    totals = [f"{n:,}  {ratio:.2f}" for n, ratio in shown.select("together", "ratio").iter_rows()]
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(shown)), totals)
    right.tick_params(length=0, labelsize=8.5 if annotated else 7, colors=figures.INK)
    right.spines[:].set_visible(False)
    right.set_ylabel("sum of the row, and that for each photo of its label", size=9)
    bar = figure.colorbar(image, ax=axes, shrink=0.6, format=lambda x, _: f"{x:.0%}")
    bar.set_label("share of the photos of the label at the left", size=9)
    bar.outline.set_visible(False)
    return figure


def sizes(table: pl.DataFrame) -> Figure:
    """The most frequent sizes as bars; all of them as spots in the plane."""
    shown = table.head(MOST_SETS)
    many = "size" if len(table) == 1 else "sizes"
    title = f"{table['photos'].sum():,} photos, {len(table):,} {many}"
    figure = figures.new(11, 4.8, title)
    left, right = figure.subplots(1, 2, width_ratios=[2, 3])
    names = [f"{width} × {height}" for width, height, _ in shown.iter_rows()]
    figures.bars(left, names, shown["photos"].to_list(), _counts(shown), MOST_SETS)
    figures.titled(left, "Width × height" + _limit(shown, table, "sizes"))
    figures.plain(right)
    figures.titled(right, "Each size a spot, the larger the more photos have it")
    photos, width, height = (table[name].to_numpy() for name in ("photos", "width", "height"))
    area = 400 * np.sqrt(photos / photos.max())
    right.scatter(width, height, area, figures.ACCENT, alpha=0.35, linewidths=0)
    largest = 1.08 * float(max(width.max(), height.max()))
    right.plot([0, largest], [0, largest], color=figures.PALE, linewidth=0.8, zorder=0)
    right.text(0.12 * largest, 0.14 * largest, "square", ha="right", size=8.5, color=figures.PALE)
    right.set(xlim=(0, largest), ylim=(0, largest), xlabel="width, pixels", ylabel="height, pixels")
    return figure


def caption_lengths(table: pl.DataFrame, subsets: Sequence[str]) -> Figure:
    """Curves of ``statistics.caption_lengths``, one for each subset that has captions."""
    length, captions = table["words"].to_numpy(), table["captions"].to_numpy()
    total, mean = captions.sum(), _mean(table["words"], table["captions"])
    figure = figures.new(
        8, 3.8, f"{total:,} captions of {mean:.1f} words on average; the longest has {length.max()}"
    )
    axes = figure.subplots()
    figures.plain(axes)
    figures.titled(axes, "Share of the captions that have so many words")
    for subset, color in zip(subsets, (figures.ACCENT, figures.SECOND), strict=True):
        of_subset = table[subset].to_numpy()
        count = of_subset.sum()
        if count:
            axes.plot(length, of_subset / count, color=color, marker="o", markersize=3,
                      label=f"{subset}: {count:,}")  # fmt: skip
    # One very long caption would press all others to the left.
    common = length[captions.cumsum() <= 0.999 * total].max(initial=10)
    axes.set(xlim=(0, 1.1 * float(common)), xlabel="words", ylim=(0, None))
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.legend(frameon=False, fontsize=9)
    return figure


def words(table: pl.DataFrame, by: str, form: str, title: str, order: Sequence[str]) -> Figure:
    """A panel of bars for each label: its words, with the column ``by`` written as ``form``."""
    has_words = set(table["label"])
    with_words = [label for label in order if label in has_words]
    shown = with_words[:MOST_PANELS]
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    deepest = int(table["label"].value_counts()["count"].to_numpy().max())
    if len(shown) < len(with_words):
        title += f" ({len(shown)} of {len(with_words)} labels)"
    figure = figures.new(
        max(2.7 * columns, 0.095 * len(title)), 0.6 + rows * (0.45 + 0.19 * deepest), title
    )
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for label, axes in zip(shown, grid, strict=False):
        of_label = table.filter(pl.col("label") == label)
        texts = [form.format(value) for value in of_label[by]]
        figures.bars(axes, of_label["word"].to_list(), of_label[by].to_list(), texts, deepest)
        figures.titled(axes, figures.short(label), "bold")
    for axes in grid:
        axes.set_visible(False)
    return figure


def examples(table: pl.DataFrame, photos: np.ndarray, order: Sequence[str], count: int) -> Figure:
    """Contact sheet of photos that carry one label alone, ``count`` places a label.

    Args:
        table: of ``statistics.alone``.
        photos: uint8, (rows of ``table``, size, size, 3).
    """
    has_photos = set(table["label"])
    with_photos = [label for label in order if label in has_photos]
    shown = with_photos[: max(1, MOST_PHOTOS // count)]
    cells: list[tuple[np.ndarray | None, str, str]] = []
    for label in shown:
        rows = table.with_row_index().filter(pl.col("label") == label)
        for row, caption in rows.select("index", "caption").iter_rows():
            cells.append((photos[row], label, caption or ""))
        cells += [(None, label, "no further photo")] * (count - len(rows))
    title = "Photos that carry one label alone"
    if len(shown) < len(with_photos):
        title += f" ({len(shown)} of {len(with_photos)} labels)"
    if len(with_photos) < len(order):
        title += f"; {len(order) - len(with_photos)} of {len(order)} labels never are alone"
    columns = count * (SHEET_COLUMNS // count) or SHEET_COLUMNS  # a label's photos in one row
    images, names, captions = zip(*cells, strict=True)
    return figures.contact_sheet(title, images, names, captions, min(columns, len(cells)))


def _mean(values: pl.Series, photos: pl.Series) -> float:
    """The mean of ``values``, each counted as often as ``photos`` says."""
    return float(np.average(values.to_numpy(), weights=photos.to_numpy()))


def _counts(table: pl.DataFrame) -> list[str]:
    return [f"{photos:,}" for photos in table["photos"]]


def _limit(shown: pl.DataFrame, table: pl.DataFrame, what: str = "labels") -> str:
    if len(shown) == len(table):
        return ""
    return f" ({len(shown)} of {len(table):,} {what})"


def _listed(numbers: Sequence[int], most: int = 12) -> str:
    return ", ".join(map(str, numbers[:most])) + (" …" if len(numbers) > most else "")
