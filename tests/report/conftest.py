"""A report of the small sample, whose labels, captions and ids mean no good."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stages.bundle.__main__ import main as bundle
from stages.bundle.bundle import BUNDLE, CARD, MANIFEST, seal
from stages.eda.__main__ import main as eda
from stages.files import write_csv, write_text
from stages.ingest import records
from stages.network.probabilities import probability_table, write_probabilities
from stages.predict.__main__ import main as predict
from stages.report.__main__ import main as report
from stages.split.__main__ import main as split
from stages.threshold.__main__ import main as threshold
from stages.train.__main__ import main as train
from stages.vocab.__main__ import main as vocab
from tests.conftest import SMALL, run_stages, write_params
from tests.once import made_once

HOSTILE = {
    "0": "<script>alert(1)</script>",
    "1": """"quoted" 'label' & more""",
    "2": "שלום עולם",
    "3": "</script><img src=x onerror=alert(2)>",
    "4": "🐕 {{ 7 * 7 }} ${dog}",
    "5": "a label whose name goes on and on " * 6 + "x" * 80,
    "6": "datum['x'].y\\z",
}
MODEL_CARD = """# <script>alert(4)</script>

[good](https://example.org/) [bad](javascript:alert(5)) ![photo](https://example.org/photo.png)

| label | F1 |
|---|---|
| <b>one</b> | 0.5 |
"""
CAPTION = """<b onclick="alert(3)">one</b> & 'two' {% raw %}"""


TABLE = Path("ensemble/validation.parquet")  # of probabilities


def out_of_fold(labels: list[str], turned: int = 1) -> pl.DataFrame:
    """Probabilities of networks that are sure of all photos' labels, but for the first ones'."""
    photos, names = records.read(), records.read_label_names()
    sure = np.where(records.label_matrix(photos["labels"].fill_null([]), names), 0.99, 0.01)
    sure[:turned] = 1 - sure[:turned]
    ordered = sure[:, [names.index(each) if each in names else 0 for each in labels]]
    table = probability_table(photos["id"], photos["labels"], ordered.astype(np.float32))
    write_probabilities(table, labels, TABLE)
    return table


@pytest.fixture(scope="session")
def _predicted(_prepared: Path, looked_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sample as far as predict."""

    def make(folder: Path) -> None:
        for source in (_prepared, looked_at):
            shutil.copytree(source, folder, dirs_exist_ok=True)
        write_params(SMALL | {"train.epochs": 1}, folder)
        run_stages(folder, go_on)

    return made_once(tmp_path_factory, "predicted", make)


@pytest.fixture
def trained(_predicted: Path, in_tmp: Path, params) -> Callable[..., None]:
    """A function that goes as far as predict; ``changes`` are of train or of report."""
    shutil.copytree(_predicted, in_tmp, dirs_exist_ok=True)

    def run(changes: dict | None = None) -> None:
        params({"report.photos": 2, "train.epochs": 1} | (changes or {}))
        if any(key.startswith("train.") for key in changes or {}):
            go_on()

    return run


def go_on() -> None:
    """From vocab to predict."""
    train()
    threshold()
    write_bundle("# The model card")
    predict()


def write_bundle(card: str) -> None:
    """The bundle, with another card."""
    bundle()
    write_text(BUNDLE / CARD, card)
    content = json.loads((BUNDLE / MANIFEST).read_text("utf-8"))
    seal(BUNDLE, {key: content[key] for key in content.keys() - {"format", "files"}})


@pytest.fixture(scope="session")
def looked_at(_prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What eda writes for the small sample, and nothing else."""

    def make(outs: Path) -> None:
        folder = tmp_path_factory.mktemp("eda")
        shutil.copytree(_prepared, folder, dirs_exist_ok=True)
        run_stages(folder, eda)
        for name in ("data/eda", "metrics/eda", "metrics/eda.json"):
            (outs / name).parent.mkdir(exist_ok=True)
            (folder / name).rename(outs / name)

    return made_once(tmp_path_factory, "looked-at", make)


@pytest.fixture(scope="session")
def hostile(_prepared: Path, looked_at: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with a report, outside of Git."""

    def make(folder: Path) -> None:
        for source in (_prepared, looked_at):
            shutil.copytree(source, folder, dirs_exist_ok=True)
        changes = {"report.labels": None, "report.photos": 2, "train.fusion": "concat"}
        changes |= {"report.out_of_fold": str(TABLE)}
        write_params(SMALL | changes, folder)  # a network that confuses labels
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.delenv("DVC_EXP_NAME", raising=False)
            make_hostile()
            for main in (split, vocab, train, threshold):
                main()
            out_of_fold(records.read_label_names(), turned=3)
            write_bundle(MODEL_CARD)
            predict()
            report()

    return made_once(tmp_path_factory, "hostile", make)


def make_hostile() -> None:
    names = [HOSTILE.get(name, name) for name in records.read_label_names()]
    renamed = pl.element().replace(HOSTILE)
    photos = records.read().with_columns(
        pl.col("labels").list.eval(renamed),
        id=pl.lit("<i>\"'&") + pl.col("id"),
        caption=pl.lit(CAPTION) + pl.col("caption"),
        group=pl.format("<i>{}", pl.int_range(pl.len()) // 4),
        width=pl.when(pl.int_range(pl.len()) % 2 == 0).then(90).otherwise("width").cast(pl.Int32),
    )
    records.write(photos, names)
    rejected = [("<u>list.csv", 3, "<img src=x>", 'the file is <empty> & "bad"')] * 3
    write_csv(Path("data/rejected.csv"), ("file", "row", "photo", "reason"), rejected)
