"""The best of a search beside the best of as many random trials, on a small sample of digits.

Both draw from the space of ``presets/sweeps/search.yaml`` and may spend as many epochs, those of
trials that are ended early counted. A random trial always runs to its end, and learns from none
before it. What is compared is what a search looks for: micro-F1 on validation photos, each decided
by the threshold found on others. Trials are the train stage's functions in this process: no DVC,
which costs both sides the same. Each repeat has a seed of its own; ``--repeats 5`` for five.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks.coco18 import ROOT, run, write
from benchmarks.table import Options, Row, main
from benchmarks.unknown import figures
from experiments.params import overlay, tree_of
from experiments.search import Search, read_search
from experiments.study import pruner, quiet, sampler
from stages.ingest import records
from stages.ingest.images import ImageStore
from stages.network.batches import Rows
from stages.network.network import rows_for
from stages.params import load, read
from stages.split import folds
from stages.train.checkpoint import Checkpoint
from stages.train.distributed import ALONE
from stages.train.loop import Figures, fit, predict
from stages.train.params import Train
from stages.train.start import build_network, check, describe

PHOTOS, TRIALS = 600, 30  # of a whole run; a third of the photos validate
EPOCHS = 9  # of a trial that runs to its end
SPACE = "presets/sweeps/search.yaml"


def rows(options: Options) -> Iterator[Row]:
    if options.gpu:
        return
    quiet()
    search = read_search(ROOT, SPACE)
    budget = EPOCHS * max(2, options.scaled(TRIALS))
    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder, chdir(folder):
        os.environ["TAGLOOM_CACHE"] = str(Path(folder) / "cache")
        prepare(max(60, options.scaled(PHOTOS)))
        found = [repeat(search, seed, budget) for seed in range(options.repeats)]
    ours, theirs = zip(*found, strict=True)
    note = f"{budget} epochs each"
    yield Row("micro-F1 of the best of a search", "of random trials", "", ours, theirs, "≥ 1", note)


def prepare(photos: int) -> None:
    """Runs the stages before train, in the current folder."""
    Path("data/corrections").mkdir(parents=True)
    changes: dict[str, Any] = {
        "ingest": {"digits": {"train": photos, "test": 1}},
        "split": {"validation": 1 / 3},
        "train": {"epochs": EPOCHS},
    }
    write(overlay(load(ROOT / "params.yaml"), changes))
    for stage in ("ingest", "split", "vocab"):
        run(stage)


def repeat(search: Search, seed: int, budget: int) -> tuple[float, float]:
    """The best micro-F1 of a search and of random trials, of ``budget`` epochs each."""
    seeded = replace(search, seed=seed)
    return best(seeded, budget), best(replace(seeded, halving=None), budget, is_random=True)


def best(search: Search, budget: int, is_random: bool = False) -> float:
    """The best micro-F1 of the trials that begin before ``budget`` epochs are spent."""
    study = optuna.create_study(direction="maximize", pruner=pruner(search))
    spent = 0

    def objective(trial: optuna.Trial) -> float:
        content = load(Path("params.yaml"))
        for key, value in search.draw(trial).items():
            content = overlay(content, tree_of(f"{key}={json.dumps(value)}"))
        write(content)
        epochs = iter(range(1, EPOCHS + 1))

        def report(epoch: Figures) -> None:
            nonlocal spent
            spent += 1
            trial.report(epoch["validation/micro_f1"], next(epochs))
            if trial.should_prune():
                raise optuna.TrialPruned

        return learn(report)

    while spent < budget:
        number = len(study.trials)
        study.sampler = (
            optuna.samplers.RandomSampler(seed=1000 * search.seed + number)
            if is_random
            else sampler(search, number)
        )
        study.optimize(objective, n_trials=1)
    return study.best_value


def learn(report: Callable[[Figures], None]) -> float:
    """Trains as ``params.yaml`` says; the micro-F1 of validation's rows."""
    names, store = records.read_label_names(), ImageStore()
    captions = folds.rows_of(records.read(), folds.read(), "train")["caption"]
    params = check(read(Train), captions, store.size)
    description = describe(params, names, store.form)
    torch.manual_seed(params.seed)
    network, words = build_network(params, description, ALONE)

    def rows_of(part: str) -> Rows:
        photos = folds.rows_of(records.read(), folds.read(), part)
        labels = records.label_matrix(photos["labels"], names)
        return rows_for(description, photos, store, words, labels)

    train, validation = rows_of("train"), rows_of("validation")
    checkpoint = Checkpoint(params, network, store.form, "fp32")
    fit(network, description, train, validation, params, checkpoint, report)
    checkpoint.remove()
    probabilities = predict(network, description, validation, params.batch_size, "fp32")
    return figures(validation, probabilities)["micro-F1"]


if __name__ == "__main__":
    main(rows, __file__)
