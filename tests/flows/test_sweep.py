"""Sweeps: what they consist of, what runs of it, and that nothing is lost or run twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import State
from prefect.utilities.callables import parameter_schema

from experiments.devices import devices, slots
from experiments.dvc_project import Project, ProjectError, Queue, worker
from experiments.plan import PlanError, Planned, complaint, plan, read
from experiments.results import common_stages, results
from flows.sweep import check, main, sweep
from tests.flows.test_reproduce import log, tasks
from tests.toy import ROOT, Toy, eventually

# A value of each kind that DVC's -S could take for another.
VALUES: dict[str, Any] = {
    "blank": "a b",
    "path": "/photos/of 2024/it's.csv",
    "comma": "a,b",
    "brackets": "[x] {id}.jpg (y)",
    "number": "1e-5",
    "word": "null",
    "empty": "",
    "backslashes": "\\'\\\\",
    "quoted": "\"x\" = 'y': ü # no comment",
    "lines": "two\nlines",
    "nothing": None,
    "yes": True,
    "small": 1e-5,
    "large": 1e22,
    "count": 16,
    "negative": -0.5,
    "list": [0.08, 1, None, "a, b", ["c'"]],
    "none": [],
}


def artifact(client: SyncPrefectClient, key: str) -> dict[str, Any]:
    return client.request("GET", "/artifacts/{key}/latest", path_params={"key": key}).json()


def queued(toy: Toy) -> dict[str, str]:
    """What ``dvc queue status`` says of each experiment."""
    lines = toy.dvc("queue", "status").splitlines()
    rows = [line.split() for line in lines if line.endswith(("Queued", "Running", "Failed"))]
    rows += [line.split() for line in lines if line.endswith("Success")]
    assert len({row[1] for row in rows}) == len(rows)
    return {row[1]: row[-1] for row in rows}


def sweep_file(toy: Toy, **content: Any) -> str:
    (toy.folder / "sweep.yaml").write_text(json.dumps(content))  # JSON is YAML
    return "sweep.yaml"


def preset(toy: Toy, name: str, **content: Any) -> str:
    path = toy.folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return f"{name}.yaml"


# What a sweep consists of


def names(planned: list[Planned]) -> list[str]:
    return [each.name for each in planned]


def test_presets_times_a_grid(toy: Toy) -> None:
    toy.params(c="{d: 1, lr: 1.0e-3}", e="{lr: 2}")
    one = preset(toy, "presets/s4/one", b=2, c={"lr": 0.5})
    base = preset(toy, "presets/base")
    planned = plan(toy.folder, [one, base], ["b=3,null", "c.lr=1e-5,[0.08,1]"], ["c.d=x y", "a=q"])
    assert names(planned) == [
        f"{name}-b={b}-c.lr={lr}"
        for name in ("s4-one", "base")
        for b in ("3", "null")
        for lr in ("1e-5", "0.08,1")
    ]
    # The grid wins over the preset, and so does what is set for all.
    assert planned[3].changes == {"b": None, "c.lr": [0.08, 1], "c.d": "x y", "a": "q"}
    assert names(plan(toy.folder, grid=["c.d='x/y..z'"], prefix="p")) == ["p-d=x-y-z"]


def test_a_sweep_file(toy: Toy) -> None:
    presets = [preset(toy, "presets/x", b=1), preset(toy, "y", b=2)]
    file = sweep_file(toy, presets=presets, grid={"a": ["in.txt", "i n"]})
    expected = ["x-a=in.txt", "x-a=i-n", "y-a=in.txt", "y-a=i-n"]
    assert names(plan(toy.folder, [file])) == expected
    assert [each.changes["b"] for each in plan(toy.folder, [file], overrides=["b=7"])] == [7] * 4
    file = sweep_file(toy, grid={"b": [1, True, 1.0]})
    assert names(plan(toy.folder, [file, *presets])) == ["b=1", "b=true", "b=1.0", "x", "y"]
    # What stands in two sweep files is one experiment.
    assert names(plan(toy.folder, [sweep_file(toy, presets=presets), "y.yaml"])) == ["x", "y"]


@pytest.mark.parametrize(
    ("files", "grid", "overrides", "sentence"),
    [
        ([], [], [], "Nothing to sweep: name preset files or sweep files, or a grid"),
        ([], [], ["b=1"], "Nothing to sweep"),
        (["nowhere.yaml"], [], [], "nowhere.yaml: No such file"),
        (["score.py"], [], [], "score.py is not YAML: "),
        (["in.txt"], [], [], "in.txt is to hold parameters by name"),
        ([{"grid": {"b": [1]}, "preset": []}], [], [], "has preset; a sweep file has presets and"),
        ([{"grid": {"b": []}}], [], [], "grid is to hold a list of values for b"),
        ([{"grid": {"b": 1}}], [], [], "grid is to hold a list of values for b"),
        ([{"grid": None}], [], [], "names neither presets nor a grid"),
        ([{"presets": "x.yaml"}], [], [], "presets is to be a list of preset files"),
        ([{"presets": ["x.yaml"]}], [], [], "x.yaml: No such file"),
        ([{"grid": {"b": [1]}}], ["b=2"], [], "b: in a sweep file's grid, and in --grid"),
        ([], ["b="], [], "'b=' names no values"),
        ([], ["b"], [], "'b' is not KEY=VALUE"),
        ([], ["b=[1"], [], "the value is not YAML"),
        ([], ["b=1", "b=2"], [], "The grid has b twice"),
        ([], ["b=1"], ["b=2"], "b: in the grid, and set for all; leave one out"),
        ([], ["b='x y',x/y"], [], "Two different experiments would be called b=x-y"),
    ],
)
def test_a_mistake_in_the_plan_is_a_sentence(
    toy: Toy, files: list[Any], grid: list[str], overrides: list[str], sentence: str
) -> None:
    paths = [each if isinstance(each, str) else sweep_file(toy, **each) for each in files]
    with pytest.raises(PlanError) as error:
        plan(toy.folder, paths, grid, overrides)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"c.lr": 1}, ""),
        ({"c.rl": 1}, "c.rl is not a parameter; did you mean c.lr?"),
        ({"c": 1}, "c is not a parameter"),
        ({"b": "${a}"}, "b cannot be set to '${a}'"),
        ({"b": [float("inf")]}, "b cannot be set to [inf]"),
    ],
)
def test_what_no_project_can_mean(changes: dict[str, Any], sentence: str) -> None:
    assert complaint(Planned("x", changes), {"a": 1, "b": 1, "c.lr": 1}).startswith(sentence)
    assert bool(complaint(Planned("x", changes), {"b": 1, "c.lr": 1})) == bool(sentence)
    assert complaint(Planned("x" * 300, {}), {})


def test_stages_that_come_out_the_same(toy: Toy) -> None:
    toy.params(c="{d: 1, e: 2}")
    toy.write(
        up={"cmd": "touch u", "params": ["c.d"], "outs": ["u"]},
        section={"cmd": "touch s", "params": ["c"], "outs": ["s"]},
        down={"cmd": "true", "deps": ["u", "s"]},
    )

    def stages(*changes: dict[str, Any]) -> set[str]:
        planned = [Planned(str(i), each) for i, each in enumerate(changes)]
        return common_stages(Project(toy.folder), planned, read(toy.folder))

    everything = {"first", "side", "last", "up", "section", "down"}
    assert stages({"b": 2}, {"b": 2}) == everything
    assert stages({}, {"b": 2}) == everything - {"last"}
    assert stages({"c.e": 3}, {"c.e": 4}) == everything - {"section", "down"}
    assert stages({"c.d": 1}, {}) == everything


# On which GPU


@pytest.mark.parametrize(
    ("visible", "names"), [("2, 5", ["2", "5"]), ("", []), ("-1", []), ("GPU-ab", ["GPU-ab"])]
)
def test_devices_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices() == names


def test_devices_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices() == []
    assert slots(None) == [{}]
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H (UUID: GPU-1)'\necho 'GPU 1: H (UUID: GPU-2)'\n")
    program.chmod(0o755)
    assert devices() == ["0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(None)] == ["0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(3)] == ["0", "1", "0"]


def test_trainings_at_a_time_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("experiments.devices.cores", lambda: 8)
    assert slots(None) == [{}]
    assert slots(2) == [{"OMP_NUM_THREADS": "4"}] * 2
    assert slots(9) == [{"OMP_NUM_THREADS": "1"}] * 9
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert slots(2) == [{}, {}]


# What DVC makes of it


def test_values_arrive_as_they_are(toy: Toy) -> None:
    toy.params(c=json.dumps({"c-d": dict.fromkeys(VALUES, 0)}))
    toy.write(last=toy.stages["last"] | {"cmd": "echo '{\"f1\": 1}' > score.json", "params": ["c"]})
    with Queue(toy.folder) as queue:
        queue.add({"x": {f"c.c-d.{key}": value for key, value in VALUES.items()}})
        list(queue.run("x"))
        params = queue.result("x").params
    values = {key: params[f"c.c-d.{key}"] for key in VALUES}
    assert values == VALUES
    assert list(map(type, values.values())) == list(map(type, VALUES.values()))
    assert params["b"] == 1


def test_one_that_cannot_be_queued_queues_none(toy: Toy) -> None:
    with Queue(toy.folder) as queue, pytest.raises(ProjectError, match="Invalid exp name"):
        queue.add({"x": {"b": 2}, "a^b": {"b": 3}})
    assert queued(toy) == {}
    assert toy.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("files", "added", "unknown"),
    [
        (["raw/a.jpg"], [], "knows raw:"),
        (["raw/a.jpg", "raw/.gitignore"], [], "knows raw:"),
        (["raw/a.jpg", "raw/b.jpg"], ["raw/a.jpg"], "knows raw/b.jpg:"),
    ],
)
def test_what_a_copy_would_lack_is_said_before(
    toy: Toy, files: list[str], added: list[str], unknown: str
) -> None:
    """Photos that neither Git nor DVC has: an experiment's copy of the project is without them."""
    (toy.folder / "raw").mkdir()
    for name in files:
        (toy.folder / name).write_text("*\n")
    toy.write(side={"cmd": "ls raw > side.txt", "deps": ["raw"], "outs": ["side.txt"]})
    toy.git("add", "--force", "dvc.yaml", *added)
    with Queue(toy.folder) as queue, pytest.raises(ProjectError) as error:
        queue.add({"x": {"b": 2}})
    assert unknown in str(error.value)
    assert queued(toy) == {}
    toy.git("rm", "--cached", "--quiet", "--ignore-unmatch", *files)
    (toy.folder / "raw/.gitignore").unlink(missing_ok=True)
    toy.dvc("add", "--quiet", "raw")
    with Queue(toy.folder) as queue, pytest.raises(ProjectError, match=r"knows raw\.dvc:"):
        queue.add({"x": {"b": 2}})
    toy.git("add", "raw.dvc")
    with Queue(toy.folder) as queue:
        queue.add({"x": {"b": 2}})
        list(queue.run("x"))
        assert queue.result("x")


def test_what_cannot_be_replaced_stays(again: Toy) -> None:
    before = again.git("for-each-ref", "refs/exps")
    with Queue(again.folder) as queue, pytest.raises(ProjectError, match="Invalid exp name"):
        queue.add({"b=1": {"b": 2}, "a^b": {"b": 3}})
    assert before
    assert again.git("for-each-ref", "refs/exps") == before


def test_one_sweep_at_a_time(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.dvc_project.processes.LOCK_WAIT", 0.2)
    with Queue(toy.folder), pytest.raises(ProjectError, match="Another sweep is running"):
        Queue(toy.folder).__enter__()
    with Queue(toy.folder):
        pass


def test_no_commit(toy: Toy) -> None:
    shutil.rmtree(toy.folder / ".git")
    toy.git("init", "--quiet")
    with pytest.raises(ProjectError, match="Git has no commit in"):
        Queue(toy.folder)


# As a flow


@pytest.fixture(scope="module")
def swept(reproduced: Path, server: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A project, and the state that a sweep of three experiments, two at a time, ended with.

    Its first stage has to run anew, b=1 and b=2 end only when both have begun, and b=x fails.
    Each appends to the file ``ran``. Where ``GATE`` is set, they wait for a file of that name.
    """
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(reproduced, folder / "toy", symlinks=True)
    toy = Toy(folder / "toy")
    ran = folder / "ran"
    command = (
        f"echo on GPU $CUDA_VISIBLE_DEVICES; echo '${{b}}' >> {ran}; "
        f"until [ $(wc -l < {ran}) -gt 1 ]; do sleep 0.1; done; "
        '[ -z "$GATE" ] || { echo waiting; until [ -e $GATE ]; do sleep 0.1; done; }; '
        "python score.py"
    )
    toy.write(last=toy.stages["last"] | {"cmd": command})
    (toy.folder / "in.txt").write_text("new\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(toy.folder)
        patch.setenv("CUDA_VISIBLE_DEVICES", "3,7")
        state = sweep(grid=["b=1,2,x"], return_state=True)
    return toy, state


@pytest.fixture
def again(swept: tuple[Toy, State], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """A copy of that project; the current folder."""
    folder = tmp_path / "toy"
    shutil.copytree(swept[0].folder, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return Toy(folder)


def test_each_ends_with_metrics_or_its_error(
    swept: tuple[Toy, State], client: SyncPrefectClient
) -> None:
    toy, state = swept
    assert (state.name, state.message) == ("Failed", "1 of 3 failed: b=x")
    runs = tasks(client, state)
    assert {name: run.state.name for name, run in runs.items()} == {
        "b=1": "Completed",
        "b=2": "Completed",
        "b=x": "Failed",
    }
    assert runs["b=2"].state.message.startswith("accuracy 0.25, label.cat 2; ran for ")
    error = runs["b=x"].state.message
    assert error.startswith("json.decoder.JSONDecodeError: Expecting value: ")
    assert "failed to reproduce 'last'" in error
    assert queued(toy) == {"b=1": "Success", "b=2": "Success", "b=x": "Failed"}
    table = artifact(client, "sweep")
    assert table["flow_run_id"] == str(state.state_details.flow_run_id)
    assert json.loads(table["data"]) == [
        {"experiment": "b=1", "state": "Completed", "accuracy": 0.125, "label.cat": 1, "error": ""},
        {"experiment": "b=2", "state": "Completed", "accuracy": 0.25, "label.cat": 2, "error": ""},
        {"experiment": "b=x", "state": "Failed", "accuracy": None, "label.cat": None,
         "error": error},
    ]  # fmt: skip
    progress = artifact(client, "sweep-progress")
    assert progress["data"] == 100
    assert progress["description"].startswith("3 of 3, ")


def test_two_at_a_time_each_on_its_gpu(swept: tuple[Toy, State], client: SyncPrefectClient) -> None:
    toy, state = swept
    runs = tasks(client, state)
    lines = {b: log(client, runs[f"b={b}"].id, f"scoring {b}") for b in ("1", "2")}
    gpus = {next(line for line in lines[b] if line.startswith("on GPU")) for b in lines}
    assert gpus == {"on GPU 3", "on GPU 7"}
    # The second waited for the stages that both need, and has them from the cache.
    assert "Running stage 'first':" in lines["1"]
    assert any(line.startswith("Stage 'first' is cached") for line in lines["2"])
    assert "scoring 2" in toy.dvc("queue", "logs", "b=2")


def test_what_is_there_is_not_run_again(again: Toy, client: SyncPrefectClient) -> None:
    (again.folder / "README").write_text("no stage reads this")
    state = sweep(grid=["b=1,2"], return_state=True)
    assert (state.name, state.message) == ("Completed", "0 ran, 2 were there already")
    runs = tasks(client, state)
    assert {run.state.name for run in runs.values()} == {"Cached"}
    assert runs["b=1"].state.message == "ran before: accuracy 0.125, label.cat 1"
    assert [row["state"] for row in json.loads(artifact(client, "sweep")["data"])] == ["Cached"] * 2


def edit_code(toy: Toy) -> list[str]:
    with (toy.folder / "score.py").open("a") as file:
        file.write("# other\n")
    return []


def edit_command(toy: Toy) -> list[str]:
    (toy.folder / "dvc.yaml").write_text(
        (toy.folder / "dvc.yaml").read_text().replace("echo on GPU", "echo at GPU")
    )
    return []


def edit_data(toy: Toy) -> list[str]:
    toy.git("rm", "--cached", "--quiet", "in.txt")
    (toy.folder / "in.txt").write_text("other data\n")
    return []


def edit_params(toy: Toy) -> list[str]:
    toy.params(a="other.txt")
    return []


def set_for_all(toy: Toy) -> list[str]:
    return ["a=other.txt"]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (edit_code, "score.py changed since"),
        (edit_command, "dvc.yaml changed since"),
        (edit_data, "in.txt changed since"),
        (edit_params, "a 'in.txt', not 'other.txt'"),
        (set_for_all, "a 'in.txt', not 'other.txt'"),
    ],
)
def test_another_experiment_of_the_same_name(
    again: Toy, change: Callable[[Toy], list[str]], what: str
) -> None:
    overrides = change(again)
    planned = plan(again.folder, grid=["b=1,2"], overrides=overrides)
    current = read(again.folder)
    with Queue(again.folder) as queue:
        with pytest.raises(PlanError) as error:
            results(queue, planned, current, force=False)
        assert str(error.value).splitlines()[1:] == [f"b=1: {what}", f"b=2: {what}"]
        assert results(queue, planned, current, force=True) == {}
        renamed = plan(again.folder, grid=["b=1"], overrides=overrides, prefix="new")
        assert results(queue, renamed, current, force=False) == {}


def test_forced(again: Toy, client: SyncPrefectClient) -> None:
    text = (again.folder / "score.py").read_text()
    (again.folder / "score.py").write_text(text.replace("b / 8", "b / 4"))
    state = sweep(grid=["b=1"], force=True, return_state=True)
    assert state.message == "1 ran, 0 were there already"
    assert queued(again) == {"b=1": "Success", "b=2": "Success", "b=x": "Failed"}
    with Queue(again.folder) as queue:
        assert queue.result("b=1").metrics["score.json"]["accuracy"] == 0.25


def lives(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def start(
    toy: Toy, client: SyncPrefectClient, gate: Path, *arguments: str
) -> subprocess.Popen[bytes]:
    settings = {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(client.api_url)}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.sweep", *arguments],
        cwd=toy.folder,
        env=os.environ | settings | {"GATE": str(gate)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_and_started_again(again: Toy, client: SyncPrefectClient, swept: Any) -> None:
    ran = swept[0].folder.parent / "ran"
    before = ran.read_text().split()
    process = start(again, client, again.folder / "gate", "--grid", "b=1,3,4")
    eventually(lambda: ran.read_text().split() == [*before, "3"])
    assert queued(again) == {
        "b=1": "Success", "b=2": "Success", "b=x": "Failed", "b=3": "Running", "b=4": "Queued"
    }  # fmt: skip
    below = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    eventually(lambda: not any(map(lives, below)))
    assert queued(again)["b=3"] == "Failed"
    state = sweep(grid=["b=1,3,4"], jobs=2, return_state=True)
    assert state.message == "2 ran, 1 were there already"
    runs = tasks(client, state)
    assert {name: run.state.name for name, run in runs.items()} == {
        "b=1": "Cached", "b=3": "Completed", "b=4": "Completed"
    }  # fmt: skip
    assert sorted(ran.read_text().split()) == sorted([*before, "3", "3", "4"])
    assert queued(again) == {
        "b=1": "Success", "b=2": "Success", "b=x": "Failed", "b=3": "Success", "b=4": "Success"
    }  # fmt: skip


def kill_runs() -> None:
    for child in psutil.Process().children():
        if worker.__file__ in child.cmdline():
            for each in (*child.children(recursive=True), child):
                each.kill()


def test_what_a_dead_machine_left_is_taken_off(again: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATE", str(again.folder / "gate"))
    copies = again.folder / ".dvc/tmp/exps"
    with Queue(again.folder) as queue:
        queue.add({"b=3": {"b": 3}})
        with pytest.raises(ProjectError):
            for line in queue.run("b=3"):
                if line.text == "waiting":
                    kill_runs()
        assert queued(again)["b=3"] == "Running"
        assert len(list(copies.glob("tmp*"))) == 1
        queue.add({"b=3": {"b": 3}})
        assert queued(again)["b=3"] == "Queued"
        assert not list(copies.glob("tmp*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_process(
    again: Toy, client: SyncPrefectClient, swept: Any, number: signal.Signals
) -> None:
    ran = swept[0].folder.parent / "ran"
    before = ran.read_text()
    process = start(again, client, again.folder / "gate", "--grid", "b=3,4")
    eventually(lambda: ran.read_text() != before)
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait(60) != 0
    assert not any(map(lives, below))


REFUSES = """
import sys
for text in sys.argv[1:]:
    key, value = text.split("=")
    if key == "b" and not value.isdecimal():
        sys.exit(f"b is to be a number, but is {value}")
"""


def test_what_is_refused_queues_nothing(toy: Toy, client: SyncPrefectClient) -> None:
    toy.own_check(REFUSES)
    planned = plan(toy.folder, grid=["b=1,x,2.5"])
    sentences = 'b=x: b is to be a number, but is "x"\nb=2.5: b is to be a number, but is 2.5'
    with pytest.raises(PlanError) as error:
        check(toy.folder, planned, read(toy.folder))
    assert str(error.value) == sentences
    state = sweep(grid=["b=1,x,2.5"], return_state=True)
    assert (state.name, state.message) == ("Failed", sentences)
    assert not (toy.folder / ".dvc/tmp/exps").exists()
    with pytest.raises(SystemExit) as done:
        main(["--grid", "b=3", "-S", "bb=1"])
    assert done.value.code == "sweep: b=3: bb is not a parameter; did you mean b?"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "sweep: Nothing to sweep"),
        (["nowhere.yaml"], "sweep: "),
        (["--jobs", "0", "--grid", "b=1"], "'0' is no number of 1 or more"),
        (["--search", "sweep.yaml"], "sweep: How many trials is the search to have? --trials 40"),
        (["--trials", "3", "--grid", "pause=1,2"], "sweep: Trials and metric are of a search"),
        (["--metric", "macro_f1", "--grid", "pause=1,2"], "sweep: Trials and metric are of a"),
        (["--search", "a.yaml", "--grid", "b=1"], "sweep: A search draws its own values"),
        (["--search", "nowhere.yaml", "--trials", "1"], "nowhere.yaml: No such file"),
        (["--search", "in.txt", "--trials", "1"], "in.txt is to hold parameters by name"),
        (["--search", "a.yaml", "--trials", "0"], "'0' is no number of 1 or more"),
        (["--metric", "f1"], "invalid choice: 'f1'"),
    ],
)
def test_command_line_mistake(
    toy: Toy, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code not in (None, 0)
    assert sentence in f"{done.value.code}{capsys.readouterr().err}"


def test_the_form_explains_its_fields() -> None:
    schema = parameter_schema(sweep).model_dump()
    assert schema["required"] == []
    for field in schema["properties"].values():
        assert len(field["description"]) > len(field["title"])
