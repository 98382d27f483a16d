"""A small real DVC project with experiments whose files are shaped as the pipeline's are."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.toy import Toy

ROWS, LABELS = 60, ["cat", "dog", "owl"]
PARAMS: dict[str, Any] = {
    "split": {"folds": 2, "fold": 0},  # a row belongs to the fold of its number, modulo 2
    "train": {"backbone": "good", "seed": 1},
    "threshold": {
        "scope": "global",
        "metric": "micro_f1",
        "shrinkage": 20,
        "calibration": "none",
        "seed": 7,
    },
}
PIPELINE = {
    "train": {
        "cmd": "python train.py",
        "deps": ["train.py"],
        "params": ["split.folds", "split.fold", "train.backbone", "train.seed"],
        "outs": ["data/folds.parquet", "data/validation.parquet", "data/predictions.parquet"],
        "metrics": [{"metrics/train.json": {"cache": False}}],
    },
    "threshold": {
        "cmd": "python threshold.py",
        "deps": ["data/validation.parquet", "threshold.py"],
        "params": ["threshold.seed"],
        "outs": ["models/decision.json"],
        "metrics": [{"metrics/threshold.json": {"cache": False}}],
    },
}
# The probabilities of a good backbone are the truth with noise, those of the other noise alone.
TRAIN = f"""
import json, pathlib, sys
import numpy as np
import polars as pl
from ruamel.yaml import YAML
params = YAML(typ="safe").load(open("params.yaml"))
backbone, fold = params["train"]["backbone"], params["split"]["fold"]
if backbone not in ("good", "noise"):
    sys.exit(f"train: there is no backbone {{backbone}}")
LABELS = {LABELS!r}
truth = np.random.default_rng(0).random((2 * {ROWS}, 3)) < 0.4
noise = np.random.default_rng([fold, params["train"]["seed"]]).random(truth.shape)
probabilities = 0.6 * truth + 0.4 * noise if backbone == "good" else noise
files = {{"validation": range(fold, {ROWS}, 2), "predictions": range({ROWS}, 2 * {ROWS})}}
pathlib.Path("data").mkdir(exist_ok=True)
pathlib.Path("data/folds.parquet").write_text(str(fold))
for name, rows in files.items():
    table = pl.DataFrame([
        pl.Series("id", [f"{{i}}.jpg" for i in rows]),
        pl.Series("labels", [[l for l, is_so in zip(LABELS, truth[i]) if is_so] for i in rows],
                  pl.List(pl.String)),
        pl.Series("probabilities", probabilities[list(rows)].astype(np.float32),
                  pl.Array(pl.Float32, 3)),
    ])
    table.write_parquet(f"data/{{name}}.parquet", metadata={{"labels": json.dumps(LABELS)}})
pathlib.Path("metrics").mkdir(exist_ok=True)
json.dump({{"hardware": "CPU, fp32", "mb": 20.0 if backbone == "good" else 2.0, "seconds": 1800.0,
           "photos_per_second": 50.0, "peak_memory_mb": 300.0}}, open("metrics/train.json", "w"))
"""
THRESHOLD = f"""
import json, pathlib
from ruamel.yaml import YAML
params = YAML(typ="safe").load(open("params.yaml"))
good = params["train"]["backbone"] == "good"
f1 = (0.8 if good else 0.3) + 0.04 * params["split"]["fold"]
figure = {{"value": f1, "low": f1 - 0.02, "high": f1 + 0.01}}
names = ["micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy"]
report = dict.fromkeys(names, figure)
flattering = dict.fromkeys(names, figure | {{"value": 0.99}})
json.dump({{"found": flattering, "cross_fitted": report}}, open("metrics/threshold.json", "w"))
pathlib.Path("models").mkdir(exist_ok=True)
json.dump({{"labels": {LABELS!r}, "thresholds": [0.5] * 3, "scope": "global", "metric": "micro_f1",
           "shrinkage": 20}}, open("models/decision.json", "w"))
"""
EXPERIMENTS = {
    "good-fold=1": {"split.fold": 1},
    "noise": {"train.backbone": "noise"},
    "broken": {"train.backbone": "broken"},
}
MAKE = """
import subprocess
from dvc.repo import Repo
def git(*arguments):
    subprocess.run(["git", *arguments], check=True)
repo = Repo.init()
repo.reproduce()
git("add", ".")
git("commit", "--quiet", "--message", "runs")
repo.close()
repo = Repo()
for name, changes in EXPERIMENTS.items():
    params = [f"{key}={value}" for key, value in changes.items()]
    # Of failures, DVC only remembers those of its queue.
    repo.experiments.run(name=name, params=params, queue=name == "broken")
    git("checkout", "--quiet", ".")
repo.experiments.reproduce_celery(jobs=1)
repo.checkout()
"""


def make(folder: Path) -> Toy:
    """The commit is good and validates fold 0, its experiments are ``EXPERIMENTS``."""
    toy = Toy(folder)
    toy.stages = PIPELINE
    for name, text in (("train.py", TRAIN), ("threshold.py", THRESHOLD)):
        (folder / name).write_text(text)
    (folder / "params.yaml").write_text(json.dumps(PARAMS))
    toy.write()
    toy.git("init", "--quiet")
    toy.git("config", "user.name", "t")
    toy.git("config", "user.email", "t@localhost")
    # One process: DVC takes longer to start than to run these.
    toy._run(sys.executable, "-c", f"EXPERIMENTS = {EXPERIMENTS!r}\n{MAKE}")
    return toy
