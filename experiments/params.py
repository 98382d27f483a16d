"""What one run changes in ``params.yaml``, checked as a whole before anything runs.

``python -m experiments.params [train.lr=5e-4 …]`` says nothing when ``params.yaml`` with these
changes is sound, and otherwise in one sentence what is wrong. ``params.yaml`` holds a value for
every key, so many of its values wait for another setting to count; a change that would not count is
an error.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.judge.params import Retrain
from experiments.plan import Params, PlanError, assignment, read
from stages import UserError, printable
from stages.bundle.params import Bundle
from stages.eda.params import Eda
from stages.ingest.params import Ingest, source_names
from stages.params import PARAMS, Section, check, flatten, load, unknown
from stages.predict.params import Predict
from stages.report.params import Report
from stages.split.params import Split
from stages.threshold.params import Threshold
from stages.train.params import Augment, Train
from stages.vocab.params import Vocab

Values = dict[str, Any]  # by their whole keys, train.loss.gamma
# A project that can check its parameters has this: python -m experiments.params KEY=VALUE …
CHECK = "experiments/params.py"
MODELS: dict[str, type[Section]] = {
    "ingest": Ingest,
    "eda": Eda,
    "split": Split,
    "vocab": Vocab,
    "train": Train,
    "threshold": Threshold,
    "bundle": Bundle,
    "predict": Predict,
    "report": Report,
    "retrain": Retrain,
}


class Effect(NamedTuple):
    """When keys of ``params.yaml`` count.

    Attributes:
        keys: separated by blanks; ``*`` stands for anything.
        needs: the setting that makes them count, for people.
        holds: whether that is so, given all values.
    """

    keys: str
    needs: str
    holds: Callable[[Values], bool]


# The centre crop counts in validation as well.
MOVES = " ".join(f"train.augment.{name}" for name in Augment.model_fields if name != "crop")
# What a word is counts for eda, whatever the network reads.
VOCABULARY = " ".join(f"vocab.{name}" for name in Vocab.model_fields if name != "segmentation")
RECURRENT = "train.text.bidirectional train.text.embedding* train.text.hidden train.text.dropout"


def _is(key: str, *allowed: Any) -> Callable[[Values], bool]:
    """A condition of an ``Effect``: that ``key`` has one of these values."""
    return lambda values: values[key] in allowed


def _has_input(name: str) -> Callable[[Values], bool]:
    """A condition of an ``Effect``: that the network is fed with this, or may be (``auto``)."""
    return lambda values: values["train.inputs"] == "auto" or name in values["train.inputs"]


def _backbone_learns(p: Values) -> bool:
    return _has_input("image")(p) and (not p["train.freeze"] or p["train.unfreeze"] > 0)


def _pretrained_backbone_learns(p: Values) -> bool:
    return _backbone_learns(p) and p["train.weights"] != "none"


def _reads_by_transformer(p: Values) -> bool:
    return _has_input("caption")(p) and p["train.text.encoder"] == "transformer"


EFFECTS = [
    Effect(
        "train.backbone train.weights train.freeze train.unfreeze train.frozen_layers train.views "
        "train.pooling train.feature_norm train.augment.* train.test_time_flip train.compile "
        "train.progressive",
        "image in train.inputs",
        _has_input("image"),
    ),
    Effect(
        f"train.text.* train.transformer_lr {VOCABULARY} report.captions",
        "caption in train.inputs",
        _has_input("caption"),
    ),
    Effect(
        "train.fusion train.text.caption_dropout",
        "train.inputs image+caption",
        _is("train.inputs", "auto", "image+caption"),
    ),
    Effect(
        "train.text.caption_dropout",
        "train.fusion other than late and product",
        lambda p: p["train.fusion"] not in ("late", "product"),
    ),
    Effect(
        f"{RECURRENT} {VOCABULARY}",
        "train.text.encoder lstm or gru",
        lambda p: p["train.text.encoder"] != "transformer",
    ),
    Effect(
        "train.text.transformer train.text.max_tokens train.text.frozen_layers "
        "train.transformer_lr",
        "train.text.encoder transformer",
        _is("train.text.encoder", "transformer"),
    ),
    Effect(
        "train.loss.gamma train.loss.alpha",
        "train.loss.name focal",
        _is("train.loss.name", "focal"),
    ),
    Effect(
        "train.loss.gamma_* train.loss.margin",
        "train.loss.name asymmetric",
        _is("train.loss.name", "asymmetric"),
    ),
    Effect(
        "train.pretrained_lr train.transformer_lr train.layer_decay train.optimizer train.lr "
        "train.momentum train.weight_decay train.clip train.accumulate train.recompute "
        "train.compile train.shuffle train.decay train.ema train.early_stopping train.metric "
        "train.schedule.* train.loss.unknown "
        "train.freeze train.unfreeze train.frozen_layers train.views train.dropout "
        f"train.text.*dropout {MOVES}",
        "train.epochs of 1 or more",
        lambda p: p["train.epochs"] > 0,
    ),
    Effect("train.progressive", "train.epochs of 2 or more", lambda p: p["train.epochs"] > 1),
    Effect(
        "train.recompute",
        "a backbone that learns (train.freeze false, or train.unfreeze), or a transformer",
        lambda p: _backbone_learns(p) or _reads_by_transformer(p),
    ),
    Effect(
        "train.pretrained_lr train.layer_decay",
        "something that comes with weights and learns (train.weights, not frozen, or a "
        "transformer)",
        lambda p: _pretrained_backbone_learns(p) or _reads_by_transformer(p),
    ),
    Effect(
        "train.momentum",
        "train.optimizer sgd or rmsprop, or train.schedule.momentum",
        lambda p: (
            p["train.optimizer"] in ("sgd", "rmsprop") or p["train.schedule.momentum"] is not None
        ),
    ),
    Effect(
        "train.decay", "train.weight_decay of more than 0", lambda p: p["train.weight_decay"] > 0
    ),
    Effect(
        "train.schedule.warmup train.schedule.start train.schedule.end",
        "train.schedule.name one-cycle or cosine",
        lambda p: p["train.schedule.name"] in ("one-cycle", "cosine"),
    ),
    Effect(
        "train.schedule.factor train.schedule.patience",
        "train.schedule.name plateau",
        _is("train.schedule.name", "plateau"),
    ),
    Effect(
        "train.augment.aspect",
        "train.augment.resized_crop",
        lambda p: p["train.augment.resized_crop"] is not None,
    ),
    Effect(
        "train.augment.magnitude",
        "train.augment.randaugment of 1 or more",
        lambda p: p["train.augment.randaugment"] > 0,
    ),
    Effect(
        "train.augment.mixed",
        "train.augment.mixup or train.augment.cutmix",
        lambda p: p["train.augment.mixup"] > 0 or p["train.augment.cutmix"] > 0,
    ),
    Effect("threshold.shrinkage", "threshold.scope label", _is("threshold.scope", "label")),
    Effect("bundle.tolerance", "bundle.precision auto", _is("bundle.precision", "auto")),
    Effect("split.fold", "split.folds", lambda p: p["split.folds"] is not None),
    *(
        Effect(f"ingest.{name}.*", f"ingest.source {name}", _is("ingest.source", name))
        for name in source_names()
    ),
]


def check_overrides(content: dict[str, Any], changes: dict[str, Any]) -> None:
    """Checks ``params.yaml``'s content with ``changes``, a tree like it.

    Raises:
        UserError: what ``overlay`` and ``check_all`` raise, or a change has no effect.
    """
    content = overlay(content, changes)
    check_all(content)
    check_effects(flatten(content), flatten(changes))


def overlay(content: dict[str, Any], changes: dict[str, Any], at: str = "") -> dict[str, Any]:
    """``content`` with the values of ``changes`` in it; neither is altered.

    Args:
        at: where in ``params.yaml`` the two stand: ``""`` or ``train.loss.``

    Raises:
        UserError: ``changes`` holds a key that ``content`` has not, one value for a section, or a
            section for one value.
    """
    result = dict(content)
    for name, value in changes.items():
        if name not in content:
            raise UserError(unknown(f"{at}{name}", [f"{at}{known}" for known in content]))
        if isinstance(content[name], dict) != isinstance(value, dict):
            kind = "section, and" if isinstance(content[name], dict) else "single value, but"
            raise UserError(f"{at}{name} is a {kind} cannot be set to {value!r}")
        result[name] = (
            overlay(content[name], value, f"{at}{name}.") if isinstance(value, dict) else value
        )
    return result


def check_all(content: dict[str, Any]) -> None:
    """Checks every section of ``params.yaml``'s content, and the sections against each other.

    Raises:
        UserError: names the first key that is wrong.
    """
    for name, model in MODELS.items():
        if name not in content:
            raise UserError(f"{PARAMS}: the section {name} is missing")
        check(model, content[name], name)
    from stages.ingest import sources  # brings Polars

    sources.chosen(Ingest.model_validate(content["ingest"]))
    crop, stored = content["train"]["augment"]["crop"], content["ingest"]["image_size"]
    if crop is not None and crop > stored:
        raise UserError(
            f"{PARAMS}: train.augment.crop is {crop}, but photos are kept at ingest.image_size, "
            f"{stored} pixels; lower the one or raise the other"
        )


def check_effects(values: Values, changed: Values) -> None:
    """Ends with a UserError when one of the values ``changed`` does not count among ``values``."""
    for key, value in changed.items():
        if not value or value == "none":  # switched off, which params.yaml may call for
            continue
        for keys, needs, holds in EFFECTS:
            if any(fnmatchcase(key, each) for each in keys.split()) and not holds(values):
                raise UserError(f"{key} has no effect here: it needs {needs}; leave it out")


def tree_of(text: str) -> dict[str, Any]:
    """``train.lr=5e-4`` as a tree of one value, like ``params.yaml``'s.

    Raises:
        PlanError: as ``assignment``.
    """
    key, value = assignment(text)
    *sections, name = key.split(".")
    tree = {name: value}
    for section in reversed(sections):
        tree = {section: tree}
    return tree


def merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two trees of changes as one; where both have a value, the second's."""
    both = {
        name: merge(first[name], value)
        for name, value in second.items()
        if isinstance(value, dict) and isinstance(first.get(name), dict)
    }
    return first | second | both


def check_params(
    root: Path, changes: Sequence[str] = (), each: Sequence[Sequence[str]] = ()
) -> None:
    """Checks every value of ``params.yaml`` in ``root`` with ``changes``, each KEY=VALUE, in it.

    What a value may be is the project's to say; ``root`` may be a clone, with another commit's.

    Args:
        each: further changes, a list of them at a time, each of which is checked by itself.

    Raises:
        PlanError: says which is wrong, and what it may be.
    """
    if not (root / CHECK).is_file():
        return
    module = CHECK.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [sys.executable, "-m", module, *(["--each"] if each else []), *changes],
        cwd=root,
        input="".join(f"{json.dumps(list(further))}\n" for further in each),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlanError(done.stderr.strip())


def params_of(root: Path) -> Params:
    """Those of ``params.yaml`` in ``root``, by whole key; none where a project has no such file.

    Raises:
        PlanError: the file cannot be read.
    """
    return read(root) if (root / PARAMS).is_file() else {}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m experiments.params", description="Checks params.yaml with these changes in it."
    )
    parser.add_argument("override", nargs="*", help="KEY=VALUE, as in train.lr=5e-4")
    parser.add_argument(
        "--each",
        action="store_true",
        help="check further changes, a line of standard input at a time: a JSON list of them",
    )
    options = parser.parse_args(arguments)
    try:
        content = load(Path(PARAMS))
        for further in map(json.loads, sys.stdin) if options.each else [[]]:
            changes: dict[str, Any] = {}
            for text in (*options.override, *further):
                changes = merge(changes, tree_of(text))
            try:
                check_overrides(content, changes)
            except UserError as error:
                raise UserError(f"{' '.join(further)}: {error}" if further else error) from error
    except (PlanError, UserError) as error:
        sys.exit(printable(str(error)))
    except OSError as error:
        sys.exit(printable(f"{error.filename}: {error.strerror}"))


if __name__ == "__main__":
    main()
