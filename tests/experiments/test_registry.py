"""The trail of promoted models: in larger repositories, in several clones, where one is lost."""

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from experiments.compare import main as compare_command
from experiments.dvc_project import ProjectError
from experiments.registry import Registry
from experiments.registry import main as registry_command
from experiments.workspace import FOLDER, Workspace
from tests.flows.retraining_project import deliver, run
from tests.toy import Toy


def clone(toy: Toy, name: str) -> Toy:
    """A clone, in which DVC has the cache of ``toy``; the photos are Git's."""
    folder = toy.folder.parent / name
    toy.git("clone", "--quiet", str(toy.folder), str(folder))
    other = Toy(folder)
    other.dvc("cache", "dir", "--local", str(toy.folder / ".dvc" / "cache"))
    return other


def test_a_second_clone_goes_on_where_the_first_one_is(
    retraining_project: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(retraining_project, "1", 0.5)
    retraining_project.commit("photo")
    assert run()[0] == "Promoted"
    first = retraining_project.git("rev-parse", "champion")
    other = clone(retraining_project, "other")
    monkeypatch.chdir(other.folder)
    registry = Registry(other.folder)
    assert registry.tip() == registry.champion().rev == first
    deliver(other, "2", 0.9)
    other.commit("photo")
    assert run()[0] == "Promoted"
    assert other.git("rev-parse", "champion^") == first
    other.git("push", "--quiet", "--atomic", "origin", "champion", "--tags")

    # Meanwhile the first one had promoted another: the push would have been refused whole.
    retraining_project.git("checkout", "--quiet", "--detach")
    retraining_project.git("update-ref", "refs/heads/champion", first)
    retraining_project.git("tag", "--delete", "model@v0.0.2", "model#champion#2")
    monkeypatch.chdir(retraining_project.folder)
    deliver(retraining_project, "3", 0.9)
    assert run()[0] == "Promoted"
    monkeypatch.chdir(other.folder)
    other.git("fetch", "--quiet")
    deliver(other, "4", 0.99)
    name, message = run()
    assert name == "Failed"
    assert "champion and origin/champion have gone apart" in message
    remedy = message.split("is: ")[1].split(". The models")[0]
    subprocess.run(remedy, shell=True, check=True, cwd=other.folder, capture_output=True)
    assert registry.tip() == retraining_project.git("rev-parse", "champion")
    assert registry.champion().rev == registry.tip()
    assert run()[0] in ("Promoted", "Refused")


def test_a_champion_that_is_lost_is_found_out_before_anything_is_trained(
    retraining_project: Toy,
) -> None:
    deliver(retraining_project, "1", 0.5)
    assert run()[0] == "Promoted"
    shutil.rmtree(retraining_project.folder / ".dvc" / "cache")
    deliver(retraining_project, "2", 0.4)
    name, message = run()
    assert name == "Failed"
    assert message.startswith("models/bundle of the model v0.0.1 is neither in DVC's cache nor in")
    assert "python -m experiments.registry --retire" in message
    assert len(retraining_project.dvc("exp", "list", "--name-only").split()) == 1
    registry_command(["--retire"])
    registry = Registry(retraining_project.folder)
    assert (registry.champion(), registry.is_empty()) == (None, True)
    assert [version.name for version in registry.versions()] == ["v0.0.1"]
    name, message = run()
    assert (name, message[19:]) == ("Promoted", "the first model")
    assert registry.champion().name == "v0.0.2"
    assert not registry.is_empty()


def test_below_the_top_folder_of_a_repository(
    retraining_project: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = Toy(tmp_path / "Größeres Haus")
    shutil.copytree(retraining_project.folder, top.folder / "vision" / "birds")
    shutil.rmtree(top.folder / "vision" / "birds" / ".git")
    shutil.rmtree(top.folder / "vision" / "birds" / ".dvc")
    (top.folder / "other.txt").write_text("1")
    top.git("init", "--quiet", "--initial-branch=main")
    birds = Toy(top.folder / "vision" / "birds")
    birds.dvc("init", "--quiet", "--subdir")
    top.commit("all")
    monkeypatch.chdir(birds.folder)
    deliver(birds, "1", 0.5)
    assert run()[0] == "Promoted"
    assert run()[0] == "Skipped"
    deliver(birds, "2", 0.9)
    assert run()[0] == "Promoted"
    registry_command(["--use", "v0.0.1"])
    assert Registry(birds.folder).champion().name == "v0.0.1"
    got = tmp_path / "got"
    name = "vision/birds:model"
    birds.dvc("artifacts", "get", ".", name, "--stage", "champion", "--out", str(got))
    assert (got / "network.txt").read_text() == "0.5"
    assert top.git("log", "--first-parent", "--format=%s", "champion-vision-birds").count("\n") == 2
    assert (birds.folder / FOLDER / "vision" / "birds" / "models").is_dir()
    assert (
        top.git("status", "--porcelain") == "?? vision/birds/raw/1.json\n?? vision/birds/raw/2.json"
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_gits_own_reason_reaches_people(
    untrained_project: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    os.chown(untrained_project.folder, 12345, 12345)
    os.chown(untrained_project.folder / ".git", 12345, 12345)
    for command in (registry_command, compare_command):
        with pytest.raises(SystemExit, match="dubious ownership") as exit:
            command([])
        assert "safe.directory" in str(exit.value)
    with pytest.raises(ProjectError, match="dubious ownership"):
        Registry(untrained_project.folder)


def test_a_delivery_that_is_still_being_copied(retraining_project: Toy, tmp_path: Path) -> None:
    """Outside of the repository, where DVC has no ignore file."""
    photos = tmp_path / "photos"
    shutil.move(retraining_project.folder / "raw", photos)
    for file in ("params.yaml", "dvc.yaml", "make.py"):
        path = retraining_project.folder / file
        path.write_text(path.read_text().replace("root: raw", f"root: {photos}"))
        path.write_text(path.read_text().replace('"raw"', f'"{photos}"'))
    (retraining_project.folder / ".dvcignore").write_text(".*\n")
    retraining_project.commit("elsewhere")
    (photos / ".in").mkdir()
    (photos / "1.json").write_text("1")
    ended = threading.Event()

    def copy() -> None:
        while not ended.wait(0.1):
            with (photos / ".in" / "x").open("a") as file:
                file.write(f"{time.monotonic()}")

    copying = threading.Thread(target=copy)
    copying.start()
    try:
        assert run()[0] == "Promoted"
        name, message = run()
        assert (name, message.partition(" came out as ")[2]) == (
            "Skipped",
            "v0.0.1, the model in use",
        )
    finally:
        ended.set()
        copying.join()


def test_a_clock_that_was_set_back(untrained_project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """GTO and DVC go by the time of tags."""
    base = untrained_project.git("rev-parse", "HEAD")
    registry = Registry(untrained_project.folder)
    registry.promote(base, base, "first")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{time.time() + 86_400:.0f} +0000")
    someone = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    tag = ("tag", "--force", "--annotate", "--message", "tomorrow", "model#champion#1")
    untrained_project.git(*someone, *tag, "model#champion#1^{commit}")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    deliver(untrained_project, "1", 1)
    untrained_project.commit("more")
    assert (
        registry.promote(untrained_project.git("rev-parse", "HEAD"), base, "second").name
        == "v0.0.2"
    )
    dates = untrained_project.git("tag", "--sort=creatordate", "--list", "model#*").split()
    assert dates == ["model#champion#1", "model#champion#2"]
    registry.roll_back("v0.0.1")
    assert registry.champion().name == "v0.0.1"
    registry.retire()
    assert registry.champion() is None


def test_an_experiment_of_the_same_second_keeps_its_name(untrained_project: Toy) -> None:
    base = untrained_project.git("rev-parse", "HEAD")
    with Workspace(untrained_project.folder) as workspace:
        for expected in ("now", "now_2", "now_3"):
            name = workspace.new_name("now")
            assert name == expected
            untrained_project.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", base)


def test_it_says_by_whom_and_by_which_run_a_version_came(
    toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    rev = toy.git("rev-parse", "HEAD")
    message = "Promote \x1b[2Jnight\n\nmicro_f1 0.5\n\nRun: brave-otter 12-34"
    version = Registry(toy.folder).promote(rev, rev, message)
    assert version.run == "brave-otter 12-34"
    registry_command([])
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"→ v0.0.1  {version.rev[:7]}  Promote \\x1b[2Jnight  (by ")
    tagger = toy.git("for-each-ref", "--format=%(taggeremail)", "refs/tags/model@v0.0.1")
    assert "@" in tagger
    assert f"{tagger}, 20" in line
    assert line.endswith(", run brave-otter 12-34)")
