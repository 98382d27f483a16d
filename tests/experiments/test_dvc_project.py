"""DVC's own texts, graphs and errors: everything against the pinned DVC itself."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import zc.lockfile
from dvc.exceptions import ReproductionError
from dvc.repo import Repo
from dvc.stage.cache import StageCache
from dvc.utils import serialize

from experiments.dvc_project import FROZEN, RESTORED, UNCHANGED, Line, Project, ProjectError, cli
from tests.toy import ROOT, Toy, eventually

SLOW = {"cmd": "echo waiting; sleep 1000 | sleep 1000", "outs": ["slow.txt"]}
SLEEPS = 2


def heads(lines: list[Line]) -> dict[str | None, tuple[str | None, str]]:
    return {line.stage: (line.outcome, line.reason) for line in lines if line.outcome}


def texts(lines: list[Line], stage: str | None) -> list[str]:
    return [line.text for line in lines if line.stage == stage]


def test_graph(toy: Toy) -> None:
    (toy.folder / "photos").write_text("p")
    toy.dvc("add", "photos", "--quiet")
    toy.write(
        many={"matrix": {"k": [0, 1]}, "cmd": "cp photos ${item.k}", "deps": ["photos"]},
        joined={"cmd": "true", "deps": ["side.txt", "score.json"]},
    )
    assert Project(toy.folder).upstream == {
        "first": [],
        "side": ["first"],
        "last": ["first"],
        "joined": ["side", "last"],
        "many@0": [],
        "many@1": [],
    }
    assert set(Project(toy.folder, ["joined"]).upstream) == {"first", "side", "last", "joined"}
    assert set(Project(toy.folder, ["side", "many@1"]).upstream) == {"first", "side", "many@1"}


def test_nothing_to_do_starts_no_child(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("started")

    monkeypatch.setattr("experiments.dvc_project.processes.child_process", refuse)
    lines = list(Project(toy.folder).run())
    assert heads(lines) == dict.fromkeys(["first", "side", "last"], ("cached", UNCHANGED))


def test_a_change_runs_what_it_touches(toy: Toy) -> None:
    toy.params(b=2)
    lines = list(Project(toy.folder).run())
    assert heads(lines) == {
        "first": ("cached", UNCHANGED),
        "side": ("cached", UNCHANGED),
        "last": ("ran", "b modified"),
    }
    assert texts(lines, "last") == ["Running stage 'last':", "> python score.py", "scoring 2"]
    assert "Updating lock file 'dvc.lock'" in texts(lines, None)


def test_reasons(toy: Toy) -> None:
    (toy.folder / "other.txt").write_text("other\n")
    toy.params(a="other.txt")
    (toy.folder / "side.txt").unlink()
    ran = heads(list(Project(toy.folder).run()))
    assert ran["first"] == ("ran", "command changed, other.txt modified")
    assert ran["side"] == ran["last"] == ("ran", "a.txt modified")
    (toy.folder / "score.json").unlink()
    shutil.rmtree(toy.folder / ".dvc/cache")
    assert (
        heads(list(Project(toy.folder, ["last"]).run()))["last"][1] == "outputs missing or changed"
    )
    forced = heads(list(Project(toy.folder, ["side"]).run(force=True)))
    assert forced == dict.fromkeys(["first", "side"], ("ran", "forced"))


def test_restored_from_the_run_cache(toy: Toy) -> None:
    (toy.folder / "in.txt").write_text("other\n")
    list(Project(toy.folder, ["side"]).run())
    (toy.folder / "in.txt").write_text("in\n")
    assert heads(list(Project(toy.folder, ["side"]).run())) == dict.fromkeys(
        ["first", "side"], ("cached", RESTORED)
    )


def test_frozen(toy: Toy) -> None:
    toy.write(side=toy.stages["side"] | {"frozen": True})
    (toy.folder / "side.txt").unlink()
    (toy.folder / "side.txt").write_text("by hand\n")
    project = Project(toy.folder, ["side"])
    assert project.upstream == {"side": []}
    assert heads(list(project.run())) == {"side": ("cached", FROZEN)}


def test_failure(toy: Toy) -> None:
    toy.write(side={"cmd": "echo oh; exit 3", "deps": ["a.txt"]}, last=toy.stages["last"])
    (toy.folder / "score.json").unlink()
    lines = list(Project(toy.folder, ["side", "last"]).run())
    assert heads(lines)["side"][0] == "failed"
    assert texts(lines, "side")[-2:] == [
        "oh",
        "failed to reproduce 'side': failed to run: echo oh; exit 3, exited with 3",
    ]


def test_failure_before_the_command(toy: Toy) -> None:
    toy.write(broken={"cmd": "true", "deps": ["nowhere"]})
    lines = list(Project(toy.folder, ["broken"]).run())
    assert heads(lines)["broken"][0] == "failed"
    assert "nowhere" in texts(lines, "broken")[-1]


def test_dvc_killed_while_a_stage_runs(toy: Toy) -> None:
    toy.write(deadly={"cmd": "kill -KILL $PPID; echo last words"})
    lines = list(Project(toy.folder, ["deadly"]).run())
    assert heads(lines)["deadly"][0] == "failed"
    assert texts(lines, "deadly")[-1] == "dvc ended with exit status -9"


def test_a_stage_cannot_pass_for_another(toy: Toy) -> None:
    toy.write(odd={"cmd": "echo \"Running stage 'odd':\"; echo \"Running stage 'none':\"; exit 1"})
    lines = list(Project(toy.folder, ["odd"]).run())
    assert {line.stage for line in lines} == {"odd"}
    assert texts(lines, "odd").count("Running stage 'odd':") == 1 + 1
    assert "Running stage 'none':" in texts(lines, "odd")


def test_a_progress_bar_is_one_line(toy: Toy) -> None:
    toy.write(bar={"cmd": r"printf '10%%\r20%%\r\r30%%\nend\r\n'"})
    lines = list(Project(toy.folder, ["bar"]).run())
    assert texts(lines, "bar")[2:] == ["30%", "end"]


def test_stages_run_in_this_environment(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    toy.write(which={"cmd": 'python -c "import sys; print(sys.executable)"'})
    assert sys.executable in texts(list(Project(toy.folder, ["which"]).run()), "which")


@pytest.mark.parametrize("target", ["nonsense", "-x"])
def test_unknown_target(toy: Toy, target: str) -> None:
    with pytest.raises(ProjectError, match=target):
        Project(toy.folder, [target])


def test_no_project(tmp_path: Path, toy: Toy) -> None:
    with pytest.raises(ProjectError, match="not inside of a DVC repository"):
        Project(tmp_path)
    (toy.folder / "below").mkdir()
    with pytest.raises(ProjectError, match=f"go to {toy.folder}"):
        Project(toy.folder / "below")


def test_locked(toy: Toy) -> None:
    lock = zc.lockfile.LockFile(str(toy.folder / ".dvc/tmp/lock"))
    try:
        with pytest.raises(ProjectError, match="another DVC process is running"):
            list(Project(toy.folder).run())
    finally:
        lock.close()


def test_experiment_without_an_identity(toy: Toy) -> None:
    project = Project(toy.folder)
    lines = list(project.run(["b=5"]))
    assert heads(lines)["last"] == ("ran", "b modified")
    assert heads(lines)["first"] == ("cached", UNCHANGED)
    assert project.experiment in toy.dvc("exp", "list", "--name-only")
    assert project.metrics() == {"score.json": {"accuracy": 0.625, "label": {"cat": 5}}}
    refs = toy.git("for-each-ref", "--format=%(authoremail)", "refs/exps")
    assert "<tagloom@localhost>" in refs
    assert "user" not in (toy.folder / ".git/config").read_text()


def test_experiment_with_the_identity_of_git(toy: Toy) -> None:
    toy.git("config", "user.name", "Ada")
    toy.git("config", "user.email", "ada@localhost")
    list(Project(toy.folder, ["last"]).run(["b=6"]))
    emails = toy.git("for-each-ref", "--format=%(authoremail)", "refs/exps").split()
    assert "<ada@localhost>" in emails
    assert "<tagloom@localhost>" not in emails


def test_figures_are_those_that_dvc_does_not_show_too(toy: Toy) -> None:
    plots: list[dict[str, object]] = [
        {"more.json": {"cache": False}},
        {"half.json": {"cache": False}},
    ]
    cmd = "echo '{\"x\": [1]}' > more.json && echo '{' > half.json"
    toy.write(more={"cmd": cmd, "plots": plots})
    list(Project(toy.folder, ["more"]).run())
    metrics = Project(toy.folder).metrics()
    assert (sorted(metrics), metrics["more.json"]) == (["more.json", "score.json"], {"x": [1]})


def test_an_override_may_shape_the_graph(toy: Toy) -> None:
    toy.params(many="[x]")
    toy.write(each={"foreach": "${many}", "do": {"cmd": "echo ${item}"}})
    toy.commit("many")
    lines = list(Project(toy.folder).run(["many=[x,y]"]))
    assert heads(lines)["each@y"][0] == "ran"


@pytest.mark.parametrize("override", ["nonsense=5", "b=[", "b=1,2"])
def test_bad_override(toy: Toy, override: str) -> None:
    with pytest.raises(ProjectError) as error:
        list(Project(toy.folder).run([override]))
    assert "Traceback" not in str(error.value)
    assert "troubles" not in str(error.value)
    assert toy.git("status", "--porcelain") == ""


def test_closing_ends_every_process(toy: Toy) -> None:
    toy.write(slow=SLOW)
    lines = Project(toy.folder, ["slow"]).run()
    while next(lines).text != "waiting":
        pass
    eventually(lambda: toy.sleeping() == SLEEPS)
    lines.close()
    assert toy.sleeping() == 0
    toy.write(slow={"cmd": "true"})
    toy.dvc("repro")  # no lock was left behind


def test_a_kill_ends_every_process(toy: Toy) -> None:
    toy.write(slow=SLOW)
    code = "from pathlib import Path; from experiments.dvc_project import Project\n"
    code += "for line in Project(Path('.'), ['slow']).run(): pass"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env)
    eventually(lambda: toy.sleeping() == SLEEPS)
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: toy.sleeping() == 0)


def test_another_dvc_removes_what_is_half_written(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does that looks for a result of the same stage, and takes it for damaged."""
    removed = []
    write = serialize.dump_yaml

    def and_remove(path: str, content: object) -> None:
        write(path, content)
        if path.endswith(cli.HALF_WRITTEN) and not removed:
            removed.append(path)
            os.unlink(path)

    monkeypatch.setattr(serialize, "dump_yaml", and_remove)
    toy.params(b=2)
    monkeypatch.chdir(toy.folder)
    with pytest.raises(ReproductionError), Repo() as repo:
        repo.reproduce()
    removed.clear()
    for name in ("save", "_load", "_load_cache"):  # which are put back afterwards
        monkeypatch.setattr(StageCache, name, getattr(StageCache, name))
    cli.mend()
    with Repo() as repo:
        repo.reproduce()
    assert len(removed) == 1
    assert json.loads((toy.folder / "score.json").read_text())["accuracy"] == 2 / 8


def test_what_another_dvc_is_writing_is_left_alone(toy: Toy) -> None:
    toy.params(b=2)
    runs = toy.folder / ".dvc" / "cache" / "runs"
    shutil.rmtree(runs)
    kept = list(Project(toy.folder).run())
    assert kept
    half = [folder / ".half.tmp" for folder in runs.glob("*/*")]
    for path in half:
        path.touch()
    os.unlink(toy.folder / "dvc.lock")
    assert heads(list(Project(toy.folder).run()))["last"][0] == "ran"
    assert all(path.exists() for path in half)
