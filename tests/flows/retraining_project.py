"""A small real DVC project that is retrained as photos come."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from flows.retrain import retrain
from tests.toy import Toy

PARAMS = "ingest:\n  root: raw\nretrain:\n  min_gain: 0.0\n  max_label_drop: 0.3\n"
# What a network is good for is the mean of the numbers that were delivered.
MAKE = """
import json, pathlib, time
numbers = [json.loads(file.read_text()) for file in sorted(pathlib.Path("raw").rglob("*.json"))]
if "slow" in numbers:
    time.sleep(1000)
worth = sum(numbers) / len(numbers)
for name, text in {
    "models/network/network.txt": f"{worth}",
    "models/decision.json": f"{worth}",
    "models/bundle/network.txt": f"{worth}",
    "data/records.parquet": f"{worth}",
    "data/folds.parquet": f"{worth}",
    "metrics/train.json": json.dumps({"worth": worth, "mb": 1.5}),
    "metrics/threshold/labels.csv": "label,threshold\\ncat,0.5\\n",
}.items():
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
"""
JUDGE = """
import json, sys, time
from pathlib import Path
MARGIN, SECONDS = 0.1, 0
folder, out = Path(sys.argv[1]), Path(sys.argv[2].removeprefix("--out="))
time.sleep(SECONDS)
old, new = (float(path.read_text().split()[0])
            for path in (folder / "bundle" / "network.txt", Path("models/bundle/network.txt")))
if new > 10_000:
    time.sleep(1000)
if new > 1000:
    raise MemoryError("a defect")
if new > 100:
    out.write_text(json.dumps({"incomparable": "they are beyond compare"}))
    sys.exit()
def figure(value):
    return {"value": value, "low": value - MARGIN, "high": value + MARGIN}
sides = {"champion": figure(old), "challenger": figure(new)}
rates = {"before": 0.5, "new": None}
drift = {"photos": {"before": 7, "new": 2}, "label_rates": {"cat": rates}, "new_labels": ["owl"],
         "gone_labels": [], "unknown_words": rates, "median_size": {"before": [3, 2], "new": None}}
out.write_text(json.dumps({
    "rows": 9, "metric": "micro_f1", "gain": figure(new - old), "drift": drift,
    **{who: {"micro_f1": figure} for who, figure in sides.items()},
    "labels": {"cat": {"count": 5, **sides}}}))
"""
FILES = {
    "params.yaml": PARAMS,
    "make.py": MAKE,
    "evaluation/judge/__main__.py": JUDGE,
    "raw/README": "photos",
}
STAGES = {
    "make": {
        "cmd": "python make.py",
        "deps": ["raw", "make.py"],
        "outs": [
            "models/network",
            "models/decision.json",
            "models/bundle",
            "data/records.parquet",
            "data/folds.parquet",
            {"metrics/threshold/labels.csv": {"cache": False}},
        ],
        "metrics": [{"metrics/train.json": {"cache": False}}],
    }
}


def make(
    folder: Path, files: Mapping[str, str] = FILES, stages: Mapping[str, object] = STAGES
) -> Toy:
    """A project that was committed and never ran."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    toy = Toy(folder)
    model = {"path": "models/bundle", "type": "model"}
    pipeline = {"stages": stages, "artifacts": {"model": model}}
    (folder / "dvc.yaml").write_text(json.dumps(pipeline))
    toy.git("init", "--quiet", "--initial-branch=main")
    toy.dvc("init", "--quiet")
    toy.commit("toy")
    return toy


def deliver(toy: Toy, name: str, worth: object) -> None:
    """One more photo."""
    (toy.folder / "raw" / f"{name}.json").write_text(json.dumps(worth))


def run(**parameters: object) -> tuple[str, str]:
    """The state that a retraining ends in: its name and its message."""
    state = retrain(**parameters, return_state=True)
    return state.name, state.message


def in_use(toy: Toy) -> float:
    """What the model is worth that DVC's registry has in use."""
    out = toy.folder.parent / "got"
    shutil.rmtree(out, ignore_errors=True)
    toy.dvc("artifacts", "get", ".", "model", "--stage", "champion", "--out", str(out))
    return float((out / "network.txt").read_text())
