"""A small real DVC project that is retrained as photos come."""

import json
import shutil
from pathlib import Path

from flows.retrain import retrain
from tests.toy import Toy

# What a network is good for is the mean of the numbers that were delivered.
MAKE = """
import json, pathlib, time
numbers = [json.loads(file.read_text()) for file in sorted(pathlib.Path("raw").rglob("*.json"))]
if "slow" in numbers:
    time.sleep(1000)
worth = sum(numbers) / len(numbers)
for name in ("models/network/network.txt", "data/records.parquet", "data/folds.parquet"):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{worth}")
for name in ("models/decision.json", "metrics/train.json", "metrics/threshold/labels.csv"):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_text(json.dumps({"worth": worth, "mb": 1.5}))
pathlib.Path("metrics/threshold/labels.csv").write_text("label,threshold\\ncat,0.5\\n")
"""
JUDGE = """
import json, sys, time
from pathlib import Path
folder, out = Path(sys.argv[1]), Path(sys.argv[2].removeprefix("--out="))
assert (folder / "network" / "network.txt").is_file()
old, new = (json.loads(path.read_text())["worth"]
            for path in (folder / "decision.json", Path("models/decision.json")))
if new > 10_000:
    time.sleep(1000)
if new > 1000:
    raise MemoryError("a defect")
if new > 100:
    out.write_text(json.dumps({"incomparable": "they are beyond compare"}))
    sys.exit()
gain = {"value": new - old, "low": new - old - 0.1, "high": new - old + 0.1}
rates = {"before": 0.5, "new": None}
sides = {who: {"value": value, "low": value - 0.1, "high": value + 0.1}
         for who, value in (("champion", old), ("challenger", new))}
drift = {"photos": {"before": 7, "new": 2}, "label_rates": {"cat": rates}, "new_labels": ["owl"],
         "gone_labels": [], "unknown_words": rates, "median_size": {"before": [3, 2], "new": None}}
out.write_text(json.dumps({
    "rows": 9, "metric": "micro_f1", "gain": gain, "drift": drift,
    **{who: {"micro_f1": figure} for who, figure in sides.items()},
    "labels": {"cat": {"count": 5, **sides}}}))
"""
PARAMS = "ingest:\n  root: raw\nretrain:\n  min_gain: 0.0\n  max_label_drop: 0.3\n"


def make(folder: Path) -> Toy:
    """A project that was committed and never ran; its raw folder is not Git's."""
    for name, text in {
        "params.yaml": PARAMS,
        "make.py": MAKE,
        "evaluation/judge/__main__.py": JUDGE,
        "raw/README": "photos",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    toy = Toy(folder)
    outputs = (
        "models/network",
        "models/decision.json",
        "data/records.parquet",
        "data/folds.parquet",
    )
    stage = {
        "cmd": "python make.py",
        "deps": ["raw", "make.py"],
        "outs": [*outputs, {"metrics/threshold/labels.csv": {"cache": False}}],
        "metrics": [{"metrics/train.json": {"cache": False}}],
    }
    model = {"path": "models/network", "type": "model"}
    pipeline = {"stages": {"make": stage}, "artifacts": {"model": model}}
    (folder / "dvc.yaml").write_text(json.dumps(pipeline))
    toy.git("init", "--quiet", "--initial-branch=main")
    toy.dvc("init", "--quiet")
    toy.commit("toy")
    return toy


def deliver(toy: Toy, name: str, worth: object) -> None:
    (toy.folder / "raw" / f"{name}.json").write_text(json.dumps(worth))


def run(**parameters: object) -> tuple[str, str]:
    """The state that a retraining ends in: its name and its message."""
    state = retrain(**parameters, return_state=True)
    return state.name, state.message


def in_use(toy: Toy) -> float:
    """What DVC's registry says is in use."""
    out = toy.folder.parent / "got"
    shutil.rmtree(out, ignore_errors=True)
    toy.dvc("artifacts", "get", ".", "model", "--stage", "champion", "--out", str(out))
    return float((out / "network.txt").read_text())
