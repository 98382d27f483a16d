"""Changes to params.yaml are checked as a whole, and quickly."""

import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from experiments.params import EFFECTS, check_overrides, merge, overlay, tree_of
from experiments.plan import PlanError
from stages import UserError
from stages.params import flatten, load
from tests.conftest import ROOT


@pytest.fixture
def content() -> dict[str, Any]:
    return load(ROOT / "params.yaml")


def tree(*texts: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for text in texts:
        changes = merge(changes, tree_of(text))
    return changes


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "experiments.params", *arguments],
        cwd=cwd, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def test_overrides_are_values_of_yaml():
    assert tree_of("train.lr=5e-4") == {"train": {"lr": 5e-4}}
    assert tree_of("train.augment.crop=null") == {"train": {"augment": {"crop": None}}}
    assert flatten(tree_of("a.b=[0.08, 1]")) == {"a.b": [0.08, 1]}
    assert tree_of("a=b=c") == {"a": "b=c"}
    assert tree("a.b=1", "a.c=2", "a.b=3") == {"a": {"b": 3, "c": 2}}


def test_an_overlay_changes_only_what_it_names():
    content = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert overlay(content, {"a": {"c": {"d": 4}}}) == {"a": {"b": 1, "c": {"d": 4}}, "e": 3}
    assert content == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.lr", "'train.lr' is not KEY=VALUE"),
        ("=3", "'=3' is not KEY=VALUE"),
        ("train.lr={", "'train.lr={': the value is not YAML"),
        ("tarin.lr=1", "tarin is not a parameter; did you mean train?"),
        ("train.loss.gama=1", "train.loss.gama is not a parameter; did you mean train.loss.gamma?"),
        ("ingest.digits.trian=1", "did you mean ingest.digits.train?"),
        ("train.loss=focal", "train.loss is a section, and cannot be set to 'focal'"),
        ("train.lr.high=1", "train.lr is a single value, but cannot be set to {'high': 1}"),
        ("train.lr=-1", "train.lr should be greater than 0, but is -1"),
        ("predict.batch_size=0", "predict.batch_size should be greater than or equal to 1"),
        ("ingest.digits.train=0", "ingest.digits.train should be greater than or equal to 1"),
        ("train.augment.crop=4000", "train.augment.crop is 4000, but photos are kept at"),
    ],
)
def test_what_cannot_be_is_refused(content: dict[str, Any], text: str, message: str):
    with pytest.raises((PlanError, UserError), match=re.escape(message)) as error:
        check_overrides(content, tree(text))
    assert "\n" not in str(error.value)


# A change without effect, and what has to be changed with it to give it one.
WITHOUT_EFFECT = [
    ("train.backbone=resnet18", "train.inputs=caption", "train.inputs=image"),
    ("train.augment.rotation=5", "train.inputs=caption", "train.inputs=image"),
    ("train.text.hidden=9", "train.inputs=image", "train.inputs=caption"),
    ("vocab.normalize=stem", "train.inputs=image", "train.inputs=caption"),
    ("train.fusion=late", "train.inputs=caption", "train.inputs=image+caption"),
    ("train.text.hidden=9", "train.inputs=image", "train.inputs=auto"),
    ("train.fusion=late", "train.inputs=caption", "train.inputs=auto"),
    ("train.text.caption_dropout=.1", "train.inputs=caption", "train.inputs=image+caption"),
    ("train.text.caption_dropout=.1", "train.fusion=late", "train.fusion=concat-relu"),
    ("train.text.caption_dropout=.1", "train.fusion=product", "train.fusion=concat"),
    ("report.captions=9", "train.inputs=image", "train.inputs=caption"),
    ("train.text.hidden=9", "train.text.encoder=transformer", "train.text.encoder=gru"),
    ("vocab.min_count=9", "train.text.encoder=transformer", "train.text.encoder=gru"),
    ("train.text.max_tokens=9", "train.text.encoder=lstm", "train.text.encoder=transformer"),
    ("train.transformer_lr=.1", "train.text.encoder=lstm", "train.text.encoder=transformer"),
    ("train.loss.gamma=1", "train.loss.name=bce", "train.loss.name=focal"),
    ("train.loss.alpha=.3", "train.loss.name=asymmetric", "train.loss.name=focal"),
    ("train.loss.gamma_negative=1", "train.loss.name=focal", "train.loss.name=asymmetric"),
    ("train.loss.margin=.1", "train.loss.name=bce", "train.loss.name=asymmetric"),
    ("train.lr=.1", "train.epochs=0", "train.epochs=1"),
    ("train.augment.shift=.1", "train.epochs=0", "train.epochs=1"),
    ("train.loss.unknown=negative", "train.epochs=0", "train.epochs=1"),
    ("train.pretrained_lr=.1", "train.weights=none", "train.weights=pretrained"),
    ("train.momentum=.8", "train.optimizer=adam", "train.optimizer=sgd"),
    ("train.decay=weights", "train.weight_decay=0", "train.weight_decay=.1"),
    ("train.schedule.warmup=.1", "train.schedule.name=plateau", "train.schedule.name=cosine"),
    ("train.schedule.patience=5", "train.schedule.name=one-cycle", "train.schedule.name=plateau"),
    ("train.augment.aspect=[1, 1]", "train.lr=.1", "train.augment.resized_crop=[.5, 1]"),
    ("train.augment.magnitude=3", "train.augment.randaugment=0", "train.augment.randaugment=2"),
    ("train.augment.mixed=.3", "train.augment.cutout=.1", "train.augment.cutmix=1"),
    ("train.augment.mixed=.3", "train.augment.cutout=.1", "train.augment.mixup=.2"),
    ("train.layer_decay=.8", "train.weights=none", "train.weights=pretrained"),
    ("train.progressive=.5", "train.epochs=1", "train.epochs=2"),
    ("train.progressive=.5", "train.inputs=caption", "train.inputs=image"),
    ("train.compile=true", "train.inputs=caption", "train.inputs=image"),
    ("train.recompute=true", "train.freeze=true", "train.freeze=false"),
    ("train.accumulate=2", "train.epochs=0", "train.epochs=1"),
    ("threshold.shrinkage=5", "threshold.scope=global", "threshold.scope=label"),
    ("ingest.table.file=a.csv", "ingest.source=digits", "ingest.source=table"),
]


@pytest.fixture
def plain(content: dict[str, Any]) -> dict[str, Any]:
    """The project's own, with nothing in it that the table above would not expect."""
    return overlay(
        content,
        tree(
            "train.inputs=image+caption", "train.backbone=resnet18", "train.weights=none",
            "train.freeze=false", "train.unfreeze=0", "train.fusion=concat",
            "train.text.encoder=gru",
            "train.text.transformer=folder", "train.text.embeddings=null", "train.epochs=9",
            "train.loss.name=bce", "train.loss.positive_weight=none", "train.optimizer=sgd",
            "train.schedule.name=one-cycle", "train.schedule.momentum=null",
            "train.augment.resized_crop=null", "train.augment.randaugment=0",
        ),
    )  # fmt: skip


@pytest.mark.parametrize(("change", "useless", "useful"), WITHOUT_EFFECT)
def test_a_change_without_effect_is_refused(
    plain: dict[str, Any], change: str, useless: str, useful: str
):
    key = change.partition("=")[0]
    needed = useful.partition("=")[0]
    with pytest.raises(UserError, match=f"^{re.escape(key)} has no effect .*{re.escape(needed)}"):
        check_overrides(plain, tree(useless, change))
    check_overrides(plain, tree(useful, change))


def test_switching_off_what_is_off_is_no_error(plain: dict[str, Any]):
    changes = ("train.schedule.momentum=null", "train.freeze=false", "train.weights=none")
    check_overrides(plain, tree("train.inputs=caption", "train.optimizer=adadelta", *changes))


def test_every_rule_names_keys_that_there_are(content: dict[str, Any]):
    keys = [*flatten(content)]
    for effect in EFFECTS:
        for pattern in effect.keys.split():
            assert any(fnmatchcase(key, pattern) for key in keys), pattern


def test_the_command_is_silent_or_says_one_sentence(in_tmp: Path):
    (in_tmp / "params.yaml").write_text((ROOT / "params.yaml").read_text("utf-8"), "utf-8")
    good = run("train.lr=5e-4", "train.augment.resized_crop=[0.08, 1]", cwd=in_tmp)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    bad = run("train.lr=5e-4", "train.gamma=2", cwd=in_tmp)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith("train.gamma is not a parameter")
    assert len(bad.stderr.splitlines()) == 1
    (in_tmp / "params.yaml").unlink()
    missing = run(cwd=in_tmp)
    assert (missing.returncode, missing.stderr) == (1, "params.yaml: No such file or directory\n")


def test_what_flows_import_is_quick_and_leaves_signals_alone():
    """Polars handles SIGINT itself, so that waits are not interrupted by it."""
    code = (
        "import sys, experiments.params, flows.reproduce, flows.retrain, flows.sweep;"
        "print(*{'polars', 'numpy', 'PIL', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    )
    assert done.stdout == "\n"


def test_the_command_imports_nothing_slow():
    code = (  # the module of the chosen source may need NumPy or Polars
        "import sys; from experiments import params; params.main([]);"
        "print(*{'torch', 'sklearn', 'scipy', 'matplotlib'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    )
    assert done.stdout == "\n"
