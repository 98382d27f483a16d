import math
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from evaluation.judge.params import Retrain
from experiments.params import MODELS
from stages import UserError, params
from stages.eda.params import Eda
from stages.ingest import sources
from stages.ingest.params import Ingest, source_names
from stages.params import Section
from stages.train.params import OWN_BACKBONES, Train

ROOT = Path(__file__).parents[1]


def load(file: str) -> dict[str, Any]:
    return YAML(typ="safe").load(ROOT / file)


def keys(model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a section; those that are sections themselves with theirs."""
    return {
        name: keys(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else None
        for name, field in model.model_fields.items()
    }


def keys_of(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: keys_of(value) if isinstance(value, dict) else None for name, value in values.items()
    }


def leaves(tree: dict[str, Any], prefix: str) -> list[str]:
    return [
        leaf
        for name, below in tree.items()
        for leaf in (leaves(below, f"{prefix}.{name}") if below else [f"{prefix}.{name}"])
    ]


def changed(section: str, **values: Any) -> Path:
    """``params.yaml`` in the current folder: the project's own with ``a__b`` set to a value."""
    content = load("params.yaml")
    for key, value in values.items():
        place = content[section]
        *parents, last = key.split("__")
        for parent in parents:
            place = place[parent]
        place[last] = value
    YAML(typ="safe").dump(content, Path("params.yaml"))
    return Path("params.yaml")


def test_every_section_of_params_yaml_is_a_model_and_has_its_keys() -> None:
    content = load("params.yaml")
    assert list(content) == list(params.SECTIONS) == list(MODELS)
    for name, model in MODELS.items():
        expected = keys(model)
        written = keys_of(content[name])
        if name == "ingest":
            for source in source_names():
                module = __import__(
                    f"{sources.__name__}.{source.replace('-', '_')}", fromlist=["_"]
                )
                expected[source] = keys(module.Options)
        assert written == expected


@pytest.mark.parametrize("model", MODELS.values())
def test_the_projects_own_parameters_are_valid(model: type[Section]) -> None:
    assert isinstance(params.read(model, ROOT / "params.yaml"), model)


def test_params_yaml_is_written_as_dvc_writes_it(in_tmp: Path) -> None:
    """``dvc exp run -S train.lr=5e-4`` changes one line."""
    from dvc.utils.hydra import apply_overrides

    shutil.copy(ROOT / "params.yaml", in_tmp)
    apply_overrides("params.yaml", ["train.lr=5e-4"])
    before, after = ((folder / "params.yaml").read_text().splitlines() for folder in (ROOT, in_tmp))
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].strip() for line in changed] == ["lr: 0.0005"]


def test_numbers_are_read_as_dvc_reads_them(in_tmp: Path) -> None:
    text = re.sub(r" lr: \S+", " lr: 5e-4", (ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text(text)
    assert params.read(Train).lr == 5e-4


def test_a_section_cannot_be_changed() -> None:
    section = params.read(Eda, ROOT / "params.yaml")
    with pytest.raises(ValueError, match="frozen"):
        section.top_words = 3


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "train",
            {"optimiser": "sgd"},
            "train.optimiser is not a parameter; did you mean train.optimizer?",
        ),
        (
            "train",
            {"loss__gama": 1},
            "train.loss.gama is not a parameter; did you mean train.loss.gamma?",
        ),
        ("train", {"lr": 0}, "train.lr should be greater than 0, but is 0"),
        ("train", {"lr": float("nan")}, "train.lr should be a finite number, but is nan"),
        (
            "train",
            {"optimizer": "lamb"},
            "train.optimizer should be 'sgd', 'adadelta', 'adam', 'amsgrad', 'adamw' or 'rmsprop', "
            "but is 'lamb'",
        ),
        ("train", {"text": None}, "train.text should be a valid dictionary"),
        ("train", {"devices": 0}, "train.devices is 0; it is auto, cluster or a number from 1"),
        ("train", {"devices": "all"}, "train.devices is 'all'; it is auto, cluster"),
        ("train", {"epochs": 1.5}, "train.epochs should be a valid integer"),
        ("split", {"folds": 5}, "give either split.validation"),
        ("split", {"by": "time", "validation": None, "folds": 5}, "by time there is one split"),
        ("split", {"fold": 1}, "split.fold is 1, but the folds are numbered 0 to 0"),
        ("split", {"validation": 1.0}, "split.validation should be less than 1"),
        (
            "ingest",
            {"image_sise": 3},
            "ingest.image_sise is not a parameter; did you mean ingest.image_size?",
        ),
        ("ingest", {"cocojson": {}}, "did you mean ingest.coco-json?"),
        (
            "ingest",
            {"source": "kaggle"},
            "ingest.source is 'kaggle'; the sources are class-files, coco-json",
        ),
        ("ingest", {"source": None}, "ingest.source should be a valid string"),
        ("ingest", {"image_size": 4}, "ingest.image_size should be greater than or equal to 8"),
        ("ingest", {"fit": "squeeze"}, "ingest.fit should be 'stretch', 'crop' or 'pad'"),
        ("ingest", {"depth": "12"}, "ingest.depth is '12'; it is type, photo, or two numbers"),
        ("ingest", {"depth": [4095, 0]}, "ingest.depth is [4095, 0]; it is type, photo, or two"),
        ("ingest", {"depth": [0, math.inf]}, "ingest.depth is [0, inf]; it is type"),
        ("ingest", {"depth": [0]}, "ingest.depth is [0]; it is type, photo, or two numbers"),
        ("ingest", {"labels": []}, "ingest.labels should have at least 1 item"),
        ("ingest", {"labels": ["a", "b", "a"]}, "ingest.labels names 'a' twice"),
        ("ingest", {"labels": [1]}, "ingest.labels.0 should be a valid string, but is 1"),
        ("ingest", {"max_rejected": 2}, "ingest.max_rejected should be less than or equal to 1"),
    ],
)
def test_wrong_values_are_told_by_name(
    in_tmp: Path, section: str, values: dict[str, Any], message: str
) -> None:
    changed(section, **values)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        params.read(MODELS[section])
    assert str(error.value).startswith("params.yaml: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "imagenet"}, "called pretrained"),
        ({"weights": "pretrained", "backbone": "small_cnn"}, "there are none for train.backbone"),
        ({"weights": "a.pth", "backbone": "plain_cnn"}, "there are none for train.backbone"),
        ({"pooling": "attention"}, "train.pooling is attention, but train.backbone small_cnn"),
        (
            {"pooling": "attention", "backbone": "timm/x", "inputs": "image+caption"}
            | {"fusion": "concat"},
            "train.pooling is attention, but with train.fusion concat",
        ),
        ({"unfreeze": 2, "freeze": False}, "train.unfreeze is 2, but nothing is frozen"),
        ({"frozen_layers": 2, "freeze": True}, "train.frozen_layers is 2, but train.freeze"),
        ({"text__encoder": "transformer", "text__transformer": None}, "names none; give a folder"),
        (
            {
                "text__encoder": "transformer",
                "text__transformer": "bert-base-uncased",
                "text__embeddings": "glove.txt",
            },
            "a transformer brings its own",
        ),
        (
            {"loss__name": "mse", "loss__positive_weight": "balanced"},
            "train.loss.positive_weight is balanced, but only bce",
        ),
        (
            {"schedule__name": "cosine", "schedule__momentum": 0.8},
            "only one-cycle cycles the momentum",
        ),
        (
            {"schedule__momentum": 0.8, "optimizer": "adadelta"},
            "but adadelta has no momentum to cycle",
        ),
        (
            {"schedule__momentum": 0.8, "optimizer": "rmsprop", "momentum": 0},
            "but rmsprop without train.momentum has no momentum to cycle",
        ),
        (
            {"schedule__momentum": 0.8, "optimizer": "sgd", "momentum": 0.7},
            "is 0.8 and must not exceed train.momentum, 0.7",
        ),
        (
            {"augment__mixed": 1, "augment__mixup": 0.2, "inputs": "image+caption"},
            "train.augment.mixed is 1, but mixed",
        ),
        (
            {"augment__cutmix": 1, "fusion": "late", "inputs": "image+caption"},
            "train.augment.cutmix is 1, but mixed photos are learnt without captions",
        ),
        ({"progressive": 0.5, "freeze": True, "unfreeze": 0}, "train.progressive is 0.5, but with"),
        ({"accumulate": 5, "batch_size": 8}, "train.accumulate is 5, but train.batch_size, 8,"),
        ({"compile": True, "recompute": True}, "train.compile and train.recompute exclude"),
        ({"ema": 1}, "train.ema should be less than 1"),
        ({"schedule__warmup": 0}, "train.schedule.warmup should be greater than 0"),
        (
            {"augment__resized_crop": [1, 0.08]},
            "train.augment.resized_crop goes from 1 to 0.08; the smaller comes first",
        ),
        ({"augment__aspect": [2, 0.5]}, "train.augment.aspect goes from 2 to 0.5"),
    ],
)
def test_settings_that_exclude_each_other(
    in_tmp: Path, values: dict[str, Any], message: str
) -> None:
    # Whatever the user has set, one-cycle lets momentum be looked at.
    changed("train", **{"schedule__name": "one-cycle"} | values)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        params.read(Train)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("stage", [*load("dvc.yaml")["stages"], "judge"])
def test_a_stage_looks_at_its_own_section_first(
    in_tmp: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = "retrain" if stage == "judge" else stage
    changed(section, **{"digits__train" if stage == "ingest" else "nonsense": "x"})
    Path("data/corrections").mkdir(parents=True)
    Path("data/corrections/wrong.csv").write_text("no table of corrections")
    monkeypatch.setattr("sys.argv", [stage, "champion", "--out=verdict.json"])
    main = import_module(f"{'evaluation' if stage == 'judge' else 'stages'}.{stage}.__main__").main
    with pytest.raises(UserError, match=rf"params.yaml: {section}\."):
        main()


@pytest.mark.parametrize("name", ["Berlin", "Europe", "../zone", ""])
def test_a_timezone_that_there_is_not(in_tmp: Path, name: str) -> None:
    changed("retrain", timezone=name)
    with pytest.raises(UserError, match=f"retrain.timezone is '{name}'; write it as Europe/Berlin"):
        params.read(Retrain)


def test_our_own_backbones_are_those_that_train_builds() -> None:
    from stages.network.nets import backbones

    assert set(OWN_BACKBONES) == backbones.OURS.keys()


def test_a_misspelt_key_is_named_rather_than_the_missing_one(in_tmp: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("top_words:", "topwords:")
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"eda\.topwords is .* did you mean eda\.top_words\?"):
        params.read(Eda)


def test_a_missing_key(in_tmp: Path) -> None:
    text = (ROOT / "params.yaml").read_text().replace("  top_words:", "  # top_words:")
    Path("params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"eda\.top_words is missing"):
        params.read(Eda)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold one section a stage"),
        (b"- 1", "must hold one section a stage"),
        (b"eda: {", "is not YAML"),
        (b"eda: 1\neda: 2", "is not YAML"),
        (b"eda: \xff", "is not YAML"),
        (b"edda: {}", "edda is not a parameter; did you mean eda?"),
        (b"split: {}", "the section eda is missing"),
        (b"eda:", "eda should be a valid dictionary"),
    ],
)
def test_a_file_that_is_not_params_yaml(in_tmp: Path, content: bytes, message: str) -> None:
    Path("params.yaml").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)):
        params.read(Eda)


def test_options_of_the_chosen_source(in_tmp: Path) -> None:
    changed("ingest", source="kaggle-csv")
    assert params.read(Ingest).source_options["train"] == "train.csv"
    changed("ingest", digits=None)
    assert params.read(Ingest).source_options == {}


def test_wrong_options_of_the_chosen_source(in_tmp: Path) -> None:
    changed("ingest", digits__trian=5)
    with pytest.raises(
        UserError, match=r"digits\.trian is .* did you mean ingest\.digits\.train\?"
    ):
        sources.rows(params.read(Ingest))
    changed("ingest", source="table", table__delimiter="||")
    with pytest.raises(
        UserError, match=r"table\.delimiter should have at most 1 character, but is"
    ):
        sources.rows(params.read(Ingest))
    changed("ingest", digits=[1])
    with pytest.raises(UserError, match=r"ingest\.digits should be a valid dictionary"):
        sources.rows(params.read(Ingest))


def test_flatten() -> None:
    tree = {"a": {"b": {"c": 1}, "d": []}, "e": None}
    assert params.flatten(tree) == {"a.b.c": 1, "a.d": [], "e": None}
