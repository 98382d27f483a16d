"""eda: records and photos → figures, tables and pictures of what is in the data."""

from pathlib import Path

import polars as pl

from stages import figures, run
from stages.eda.overview import look_over
from stages.eda.params import Eda, Vocab
from stages.eda.pictures import draw
from stages.eda.tables import measure, tables
from stages.files import whole, write_csv
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.metrics import write as write_metrics
from stages.params import read

TABLES = Path("metrics/eda")
PICTURES = Path("data/eda")


def main() -> None:
    params = read(Eda)
    overview = look_over(
        records.read(), records.read_label_names(), params.top_words, read(Vocab).segmentation
    )
    with whole(PICTURES) as folder:
        folder.mkdir()
        for name, figure in draw(overview, ImageStore(), params.examples):
            save = figures.save_photos if name == "examples" else figures.save
            save(figure, folder / f"{name}.png")
    for name, table in tables(overview).items():
        rounded = table.with_columns(pl.selectors.float().round(6))
        write_csv(TABLES / f"{name}.csv", rounded.columns, rounded.iter_rows())
    write_metrics("eda", measure(overview))


if __name__ == "__main__":
    run(main)
