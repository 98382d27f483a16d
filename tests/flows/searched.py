"""A small real DVC project whose last stage learns in epochs, as train does, for searches."""

import json
from pathlib import Path
from typing import Any

from tests.toy import Toy

PARAMS: dict[str, Any] = {"model": {"kind": "flat", "height": 0.5, "tilt": 1}, "pause": 0.0}
# Each epoch comes as near the height as there are epochs; ``tilted`` reaches half of it.
LEARN = """
import json, os, pathlib, sys, time
from ruamel.yaml import YAML
params = YAML(typ="safe").load(pathlib.Path("params.yaml"))
height, kind = params["model"]["height"], params["model"]["kind"]
with open(os.environ["RAN"], "a") as file:
    print(height, file=file)
if kind == "broken":
    sys.exit("learn: it is broken")
folder = pathlib.Path("metrics/train/plots/metrics/validation")
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "micro_f1.tsv", "w") as curve:
    print("step", "micro_f1", sep="\\t", file=curve, flush=True)
    for step in range(4):
        print(step, height * (step + 1) / 4, sep="\\t", file=curve, flush=True)
        time.sleep(params["pause"])
while os.path.exists(os.environ.get("GATE", "")):
    time.sleep(0.1)
f1 = height / (2 if kind == "tilted" else 1)
figure = {"value": f1, "low": f1 - 0.1, "high": f1 + 0.1}
names = ["micro_f1", "macro_f1", "mean_average_precision", "subset_accuracy"]
json.dump({"cross_fitted": dict.fromkeys(names, figure)}, open("metrics/threshold.json", "w"))
json.dump({"seconds": 36.0, "mb": 1.0}, open("metrics/train.json", "w"))
"""
STAGES = {
    "first": {"cmd": "cp in.txt a.txt", "deps": ["in.txt"], "outs": ["a.txt"]},
    "learn": {
        "cmd": "python learn.py",
        "deps": ["a.txt", "learn.py"],
        "params": ["model", "pause"],
        "metrics": [
            {"metrics/threshold.json": {"cache": False}},
            {"metrics/train.json": {"cache": False}},
        ],
        "plots": [{"metrics/train/plots/metrics": {"cache": False}}],
    },
}


def make(folder: Path) -> Toy:
    """A project that was reproduced and committed; ``RAN`` names a file that each run adds to."""
    toy = Toy(folder)
    toy.stages = STAGES
    for name, text in {
        "params.yaml": json.dumps(PARAMS),  # JSON is YAML
        "in.txt": "in\n",
        "learn.py": LEARN,
        ".gitignore": "/searches/\n",
    }.items():
        (folder / name).write_text(text)
    toy.begin()
    return toy
