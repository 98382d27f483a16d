"""Caption, photo and both on real photos, beside TF-IDF and logistic regression on the captions.

``python -m benchmarks.coco18`` runs the real stages on the coco18 folder below ``TAGLOOM_SHARED``
with SqueezeNet's ImageNet weights, and prints one table. All rows share one split; the baseline is
fitted in the same run on the same training captions, and gets its best regularisation.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ruamel.yaml import YAML
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from stages import metrics
from stages.ingest import records
from stages.split import folds
from stages.threshold.search import search

ROOT = Path(__file__).parents[1]
REGULARISATION = (1, 4, 10, 30)
# What differs from params.yaml. Captions: what a search over cells, sizes and rates found best.
CHANGES = {
    "ingest.source": "kaggle-csv",
    "ingest.image_size": 224,
    "vocab.normalize": "stem",
    "train.backbone": "squeezenet1_0",
    "train.freeze": True,
    "train.dropout": 0.5,
    "train.text.embedding": 200,
    "train.text.hidden": 128,
    "train.text.dropout": 0.5,
    "train.text.caption_dropout": 0.3,
    "train.lr": 4e-3,
    "train.weight_decay": 0,
    "train.batch_size": 64,
    "train.augment.shift": 0,
    "train.precision": "bf16",
}
HEADER = f"| {'inputs':22} | at 0.5 | threshold found | cross-fitted (95 %) | minutes | MB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("TAGLOOM_SHARED", "."))
    parser.add_argument("--folder", type=Path, default=shared / "coco18")
    weights = shared / "weights" / "squeezenet1_0-imagenet.pth"
    parser.add_argument("--weights", type=Path, default=weights)
    inputs = ["caption", "image+caption", "image"]
    parser.add_argument("--inputs", nargs="+", choices=inputs, default=inputs[:2])
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()

    changes = CHANGES | {
        "ingest.root": str(options.folder.resolve()),
        "train.weights": str(options.weights.resolve()),
        "train.epochs": options.epochs,
    }
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_params(changes)
        for stage in ("ingest", "eda", "split", "vocab"):
            run(stage)
        print("\nValidation micro-F1\n\n" + HEADER)
        print("|" + "|".join("-" * len(cell) for cell in HEADER.split("|")[1:-1]) + "|")
        print(baseline(), flush=True)
        for each in options.inputs:
            write_params(changes | {"train.inputs": each})
            for stage in ("train", "threshold", "predict"):
                run(stage)
            print(network(each), flush=True)


def write_params(changes: dict) -> None:
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load((ROOT / "params.yaml").read_text("utf-8"))
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = params
        for part in sections:
            section = section[part]
        section[name] = value
    with open("params.yaml", "w", encoding="utf-8") as file:
        yaml.dump(params, file)


def run(stage: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", f"stages.{stage}"], env=environment, check=True)


def baseline() -> str:
    """TF-IDF and one logistic regression a label, with the best of four regularisations."""
    everything, parts, names = records.read(), folds.read(), records.read_label_names()
    train, validation = (folds.rows_of(everything, parts, p) for p in ("train", "validation"))
    known, truth = (records.label_matrix(p["labels"], names) for p in (train, validation))
    started = time.perf_counter()
    vectorizer = TfidfVectorizer()
    seen = vectorizer.fit_transform(train["caption"].fill_null(""))
    unseen = vectorizer.transform(validation["caption"].fill_null(""))
    at_half, found = [], []
    for c in REGULARISATION:
        model = OneVsRestClassifier(LogisticRegression(C=c, max_iter=1000)).fit(seen, known)
        scores = model.predict_proba(unseen)
        at_half.append(metrics.micro_f1(truth, scores >= 0.5))
        thresholds = search(truth, scores, "global", "micro_f1")
        found.append(metrics.micro_f1(truth, scores >= thresholds))
    minutes = (time.perf_counter() - started) / 60 / len(REGULARISATION)
    return row("caption: TF-IDF + LR", max(at_half), max(found), "", minutes, "")


def network(inputs: str) -> str:
    threshold = json.loads(Path("metrics/threshold.json").read_text("utf-8"))
    trained = json.loads(Path("metrics/train.json").read_text("utf-8"))
    at_half, found, fitted = (
        threshold[name]["micro_f1"] for name in ("at_half", "found", "cross_fitted")
    )
    interval = f"{fitted['value']:.3f} ({fitted['low']:.3f}–{fitted['high']:.3f})"
    minutes, megabytes = trained["seconds"] / 60, f"{trained['mb']:.1f}"
    return row(inputs, at_half["value"], found["value"], interval, minutes, megabytes)


def row(name: str, half: float, found: float, fitted: str, minutes: float, mb: str) -> str:
    return f"| {name:22} | {half:6.3f} | {found:15.3f} | {fitted:19} | {minutes:7.1f} | {mb:>4} |"


if __name__ == "__main__":
    main()
