"""A project of one's own is made and updated by Git's merges; the photos stay as they are."""

import io
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from experiments.dvc_project import ProjectError, git
from experiments.init import BACKBONE, SIDE, init, recipe
from experiments.template import LEFT_OUT, Template, last_commit, template, update
from stages import UserError
from stages.network.nets import backbones
from stages.params import flatten
from tests.conftest import ROOT
from tests.experiments.test_sources import state

PARAMS = (ROOT / "params.yaml").read_text("utf-8")
TABLE = {"ingest.source": "table", "train.lr": 5e-4}


def made(commit: str, **files: str) -> Template:
    """A small template."""
    content = {"params.yaml": PARAMS, ".dvc/config": "", "README.md": "# Tagloom\n", **files}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in content.items():
            archive.writestr(name.replace("__", "/").replace("_py", ".py"), text)
    return Template(commit, packed.getvalue())


FIRST = made("1" * 40, stages__a_py="a = 1\n\n\nb = 1\n", stages__old_py="")


@pytest.fixture
def photos(tmp_path: Path, own_environment: None) -> Path:
    folder = tmp_path / "my photos"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "1.jpg").write_bytes(b"no photo, but nobody opens it")
    (folder / "photos.csv").write_text("id,labels\n1.jpg,cat\n")
    return folder


@pytest.fixture
def project(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bïrds in spring"
    init(folder, photos, TABLE, FIRST, "in-place")
    return folder


def params(project: Path) -> dict[str, object]:
    return flatten(YAML(typ="safe").load(project / "params.yaml"))


@pytest.mark.parametrize("care", ["copy", "link", "in-place"])
def test_photos_are_read_and_never_touched(photos: Path, tmp_path: Path, care: str) -> None:
    """Also where the way to them leads up, which DVC does not understand by itself."""
    before, project = state(photos), tmp_path / "birds"
    root = init(project, photos / ".." / photos.name, TABLE, FIRST, care)
    assert state(photos) == before
    assert (project / root / "photos" / "1.jpg").read_bytes().startswith(b"no photo")
    assert root.is_absolute() == (care == "in-place")
    assert (project / "data/raw/my photos.dvc").exists() == (care == "copy")
    assert params(project) == flatten(YAML(typ="safe").load(PARAMS)) | TABLE | {
        "ingest.root": str(root)
    }
    assert git(project, "status", "--porcelain") == ""
    assert (project / "README.md").read_text().startswith("# birds\n")


def test_a_project_below_the_top_of_a_repository(photos: Path, tmp_path: Path) -> None:
    team = tmp_path / "team"
    team.mkdir()
    git(team, "init", "--quiet")
    (team / "README.md").write_text("Ours\n")
    git(team, "add", "README.md")
    git(team, "commit", "--quiet", "--message", "Start")
    (team / "vision" / "birds").mkdir(parents=True)
    (team / "vision" / "birds" / "holiday.jpg").write_bytes(b"nobody's but the user's")
    init(team / "vision" / "birds", photos, TABLE, FIRST, "in-place", into=True)
    assert git(team, "status", "--porcelain") == "?? vision/birds/holiday.jpg"
    assert set(git(team, "ls-files").splitlines()) == {
        "README.md",
        *(f"vision/birds/{name}" for name in FIRST.names()),
        "vision/birds/README.md",
    }
    newer = made("2" * 40, stages__a_py="a = 2\n\n\nb = 1\n", stages__old_py="")
    update(team, Path("vision/birds"), newer)
    assert (team / "vision/birds/stages/a.py").read_text().startswith("a = 2\n")


def test_what_is_in_the_way(photos: Path, project: Path, tmp_path: Path) -> None:
    def refused(folder: Path, match: str, **options: bool) -> None:
        before = state(tmp_path)
        with pytest.raises(UserError, match=match):
            init(folder, photos, TABLE, FIRST, "in-place", **options)
        assert state(tmp_path) == before

    refused(photos, "is not empty")
    refused(photos / "project", "is among the photos")
    refused(project / "below", "--into makes it a part")
    refused(tmp_path / "new", "is in no Git repository", into=True)
    refused(project, "has .* already", into=True)
    (project / "stages" / "a.py").write_text("changed\n")
    refused(project / "below", r"stages/a\.py: commit or stash", into=True)


def test_what_fails_leaves_nothing(photos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("experiments.init.sys.executable", "/bin/false")
    with pytest.raises(ProjectError, match="my photos"):
        init(tmp_path / "birds", photos, TABLE, FIRST)
    assert not (tmp_path / "birds").exists()
    with pytest.raises(UserError, match="dropout"):
        init(tmp_path / "birds", photos, {"train.dropout": 2}, FIRST)
    assert not (tmp_path / "birds").exists()


def test_updates_keep_what_is_the_projects(project: Path) -> None:
    """Over three states of Tagloom; code that both have changed, in different places, is joined."""
    (project / "stages" / "a.py").write_text("a = 1\n\n\nb = 'mine'\n")
    text = (project / "params.yaml").read_text().replace("epochs: 10 ", "epochs: 3  ")
    (project / "params.yaml").write_text(text)
    (project / "dvc.lock").write_text("mine\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Mine")

    newer = PARAMS.replace("  lr: 6e-3 ", "  lr: 7e-3 ").replace("  epochs: 10 ", "  epochs: 11 ")
    newer = newer.replace("  momentum: 0.9 ", "  momentum: 0.8 ")
    second = made("2" * 40, stages__a_py="a = 2\n\n\nb = 1\n", **{"params.yaml": newer})
    assert "222222222222" in update(project, Path(), second)
    newest = newer.replace("# train.lr\n", "").replace("  lr: 7e-3 ", "  warm: 1\n  lr: 8e-3 ")
    third = made(
        "3" * 40, stages__a_py="a = 3\n\n\nb = 1\n", stages__new_py="", **{"params.yaml": newest}
    )
    update(project, Path(), third)

    assert (project / "stages" / "a.py").read_text() == "a = 3\n\n\nb = 'mine'\n"
    assert (project / "stages" / "new.py").exists()
    assert not (project / "stages" / "old.py").exists()
    assert (project / "dvc.lock").read_text() == "mine\n"
    values = params(project)
    assert values["train.lr"] == 5e-4  # the project's, as are the next
    assert values["train.epochs"] == 3
    assert values["ingest.source"] == "table"
    assert values["train.momentum"] == 0.8
    assert values["train.warm"] == 1
    assert git(project, "status", "--porcelain") == ""
    head = git(project, "rev-parse", "HEAD")
    assert "newest already" in update(project, Path(), third)
    assert git(project, "rev-parse", "HEAD") == head


def test_lines_that_both_have_changed_wait_for_someone(project: Path) -> None:
    (project / "stages" / "a.py").write_text("a = 'mine'\n\n\nb = 1\n")
    with pytest.raises(UserError, match="commit or stash"):
        update(project, Path(), made("2" * 40, stages__a_py="a = 2\n\n\nb = 1\n"))
    git(project, "commit", "--quiet", "--all", "--message", "Mine")
    with pytest.raises(UserError, match=r"stages/a\.py.*git merge --abort"):
        update(project, Path(), made("2" * 40, stages__a_py="a = 2\n\n\nb = 1\n"))
    git(project, "merge", "--abort")
    assert git(project, "status", "--porcelain") == ""


def test_what_was_not_made_so_is_not_updated(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not made by tagloom init"):
        update(project, Path("elsewhere"), FIRST)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(project), str(clone))
    assert last_commit(clone, Path()) == last_commit(project, Path())


def test_the_real_template_has_what_a_project_needs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of the sample's: figures, data and history."""
    source = template()
    names = set(source.names())
    assert {"dvc.yaml", "params.yaml", "Makefile", ".dvc/config", ".dvcignore"} <= names
    assert {name.split("/")[0] for name in names} >= {
        *("stages", "experiments", "evaluation", "flows", "tagloom", "tests", "presets"),
    }
    assert not [name for name in names if name.startswith("metrics") or name.endswith(".lock~")]
    assert LEFT_OUT.match("dvc.lock")
    project = tmp_path / "birds"
    init(project, photos, {"ingest.source": "table"}, source, "in-place")
    listed = subprocess.run(
        ["python", "-c", "import stages; print(stages.__file__)"],
        cwd=project, env=os.environ, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(listed.stdout.strip()).is_relative_to(project)
    monkeypatch.setattr("experiments.template.ROOT", project)  # as python -m tagloom has it there
    with pytest.raises(UserError, match="itself a project"):
        template.__wrapped__()


def test_few_photos_are_seen_in_several_views(monkeypatch) -> None:
    monkeypatch.setattr("experiments.init.seconds_a_photo", lambda *_: 0.1)
    few, many, captioned = (
        recipe(*each, template(), "pretrained")
        for each in ((500, False), (5000, False), (500, True))
    )
    assert [each.values.get("train.views") for each in (few, many, captioned)] == [8, None, None]
    poolings = [each.values.get("train.pooling", "backbone") for each in (few, many, captioned)]
    assert poolings == ["backbone", "attention", "attention"]
    assert "1.3 GB" in "".join(many.reasons)
    huge = recipe(10**6, True, template(), "pretrained").values
    assert (huge["ingest.image_size"], huge.get("train.pooling")) == (224, None)
    assert "captions" in captioned.reasons[0]
    assert "7 minutes" in few.reasons[-1]


def test_without_a_hub_a_small_network_learns(monkeypatch) -> None:
    def unreachable(url: str) -> None:
        raise OSError("no route to it")

    monkeypatch.setattr("stages.network.nets.timm_backbones.reach", unreachable)
    chosen = recipe(500, False, template(), "pretrained")
    assert chosen.values["train.backbone"] == "small_cnn"
    assert chosen.values["train.weights"] == "none"
    said = "\n".join(chosen.reasons)
    assert "no route to it" in said
    assert "--weights" in said


def test_weights_are_found_from_the_project_too(in_tmp: Path) -> None:
    weights = in_tmp / "weights.pth"
    torch.save(backbones.build(BACKBONE, SIDE)[0].state_dict(), weights)
    chosen = recipe(500, True, template(), "weights.pth")
    assert chosen.values["train.weights"] == str(weights)
    with pytest.raises(UserError, match=r"other\.pth does not exist"):
        recipe(500, True, template(), "other.pth")
