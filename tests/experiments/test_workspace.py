"""What is retrained is the commit, with the photos there are; nobody's files are touched."""

import os
import re
import shutil
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient

from experiments.dvc_project import Project, ProjectError
from experiments.registry import Registry
from experiments.sources import main as look
from experiments.workspace import FOLDER, Workspace
from tests.experiments.test_sources import state
from tests.flows.retraining_project import PARAMS, deliver, in_use, run
from tests.toy import Toy


def lead(toy: Toy, to: str | Path) -> None:
    """Makes the photos' folder a link."""
    raw = toy.folder / "raw"
    shutil.rmtree(raw) if raw.is_dir() and not raw.is_symlink() else raw.unlink()
    raw.symlink_to(to)


@pytest.fixture
def albums(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of photos beside the project, with different ones."""
    folders = tmp_path / "first", tmp_path / "second"
    for folder, names in zip(folders, (["a1", "a2"], ["b"]), strict=True):
        folder.mkdir()
        for name in names:
            (folder / f"{name}.json").write_text(f"{len(names)}")
    return folders


def test_a_link_that_was_pointed_elsewhere_is_no_way_to_anybodys_photos(
    untrained_project: Toy, albums: tuple[Path, Path]
) -> None:
    first, second = albums
    lead(untrained_project, first)
    untrained_project.commit("link")
    lead(untrained_project, second)
    before = state(first, second)
    message = f"raw is a link to {first} in the commit"
    with pytest.raises(ProjectError, match=message), Workspace(untrained_project.folder):
        pass
    # One that Git does not know leads to what it leads to.
    untrained_project.git("rm", "--quiet", "--cached", "raw")
    (untrained_project.folder / ".git" / "info" / "exclude").write_text("/raw")
    untrained_project.commit("no link")
    with Workspace(untrained_project.folder) as workspace:
        assert os.listdir(workspace.folder / "raw") == ["b.json"]
    assert state(first, second) == before


def test_a_committed_link_leads_where_it_leads_from_the_checkout(
    retraining_project: Toy, albums: tuple[Path, Path]
) -> None:
    lead(retraining_project, "../first")
    (retraining_project.folder / "more").symlink_to("raw")  # inside, and led astray by nothing
    retraining_project.commit("link")
    before = state(*albums)
    assert run()[0] == "Promoted"
    assert in_use(retraining_project) == 2
    assert run()[0] == "Skipped"
    assert state(*albums) == before
    assert retraining_project.git("show", "champion:raw") == "../first"
    assert retraining_project.git("status", "--porcelain") == ""


def test_links_among_the_photos(untrained_project: Toy, albums: tuple[Path, Path]) -> None:
    raw = untrained_project.folder / "raw"
    (raw / "album").symlink_to("../../first")
    untrained_project.commit("link")
    (raw / "other").symlink_to(albums[1])
    os.mkfifo(raw / "stuck.json")
    before = state(raw, *albums)
    for _ in range(2):
        with Workspace(untrained_project.folder) as workspace:
            assert (workspace.folder / "raw" / "album" / "a1.json").read_text() == "2"
            assert (workspace.folder / "raw" / "other" / "b.json").read_text() == "1"
            assert [each.path.name for each in workspace.unreadable] == ["stuck.json"]
            assert not (workspace.folder / "raw" / "stuck.json").exists()
    assert state(raw, *albums) == before


def test_what_stages_write_stays_in_the_clone(untrained_project: Toy, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "records.parquet").write_text("somebody's")
    (untrained_project.folder / "data").symlink_to(tmp_path / "store")
    untrained_project.commit("link")
    message = "data/records.parquet would be written to"
    with pytest.raises(ProjectError, match=message), Workspace(untrained_project.folder):
        pass
    assert (tmp_path / "store" / "records.parquet").read_text() == "somebody's"


def test_a_damaged_clone_leaves_the_checkout_alone(untrained_project: Toy) -> None:
    with Workspace(untrained_project.folder):
        pass
    (untrained_project.folder / FOLDER / ".git" / "HEAD").write_text("what a kill left")
    (untrained_project.folder / "make.py").write_text("what somebody is at work on")
    (untrained_project.folder / "new.py").write_text("new")
    before = state(untrained_project.folder / "raw")
    with Workspace(untrained_project.folder):
        pass
    assert (untrained_project.folder / "make.py").read_text() == "what somebody is at work on"
    assert (untrained_project.folder / "new.py").read_text() == "new"
    assert untrained_project.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert state(untrained_project.folder / "raw") == before


def test_a_link_in_place_of_the_clone_or_its_lock(untrained_project: Toy, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (untrained_project.folder / FOLDER).parent.mkdir(parents=True)
    (untrained_project.folder / FOLDER).symlink_to(tmp_path / "mine")
    (untrained_project.folder / FOLDER).with_suffix(".lock").symlink_to(tmp_path / "mine" / "file")
    with pytest.raises(ProjectError, match="is a link"), Workspace(untrained_project.folder):
        pass
    assert (tmp_path / "mine" / "file").read_text() == "mine"
    assert os.listdir(tmp_path / "mine") == ["file"]


def test_what_the_checkout_has_otherwise_is_said(untrained_project: Toy) -> None:
    (untrained_project.folder / "params.yaml").write_text(
        PARAMS.replace("min_gain: 0.0", "min_gain: 0.5")
    )
    (untrained_project.folder / "make.py").write_text("# changed")
    (untrained_project.folder / "raw" / "1.json").write_text("1")
    (untrained_project.folder / "raw.dvc").touch()
    (untrained_project.folder / "notes.txt").touch()
    with Workspace(untrained_project.folder) as workspace:
        assert workspace.uncommitted == ["retrain.min_gain 0.5, not 0.0", "make.py", "raw.dvc"]
    untrained_project.commit("all")
    with Workspace(untrained_project.folder) as workspace:
        assert not workspace.uncommitted


def test_other_data_than_the_commit_says_is_refused(untrained_project: Toy) -> None:
    (untrained_project.folder / "other").mkdir()
    (untrained_project.folder / "params.yaml").write_text(
        PARAMS.replace("root: raw", "root: other")
    )
    message = "ingest.root 'other', not 'raw'"
    with pytest.raises(ProjectError, match=message), Workspace(untrained_project.folder):
        pass


def test_photos_that_come_after_others_of_which_dvc_knows_nothing(
    retraining_project: Toy, client: SyncPrefectClient
) -> None:
    """What dvc.lock does not know yet is read as it is, with the line ends of Windows."""
    (retraining_project.folder / "raw" / "X").mkdir()
    (retraining_project.folder / "raw" / "X" / "1.json").write_bytes(b"1\r\n")
    deliver(retraining_project, "1", 0.5)
    assert run()[0] == "Promoted"
    pipeline = retraining_project.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace('"raw"', '"raw/X"'))
    (retraining_project.folder / "params.yaml").write_text(
        PARAMS.replace("root: raw", "root: raw/X")
    )
    make = retraining_project.folder / "make.py"
    make.write_text(make.read_text().replace('"raw"', '"raw/X"'))
    retraining_project.dvc("add", "raw/X")
    retraining_project.commit("other photos")
    (retraining_project.folder / "new.dvc").touch()
    assert run()[0] == "Promoted"
    assert in_use(retraining_project) == 1
    path = {"key": "retrain"}
    page = client.request("GET", "/artifacts/{key}/latest", path_params=path).json()["data"]
    assert re.match(r"> \*\*What is retrained is the commit \w+, and .*: new\\\.dvc\*\*", page)


def test_a_stage_is_not_stale_for_what_is_hidden(toy: Toy) -> None:
    """Such as a delivery that is not whole yet; the pipeline's own .dvcignore says so."""
    shutil.copy(Path(__file__).parents[2] / ".dvcignore", toy.folder)
    (toy.folder / "raw" / "deliveries").mkdir(parents=True)
    (toy.folder / "raw" / "photo").write_text("1")
    toy.write(read={"cmd": "ls raw", "deps": ["raw"]})
    toy.dvc("repro", "--quiet", "read")
    (toy.folder / "raw" / "deliveries" / ".in").mkdir()
    for name in ("deliveries/.in/x", ".DS_Store", "Thumbs.db", "photo~", "#photo#", "._photo"):
        (toy.folder / "raw" / name).write_text("1")
    (toy.folder / "raw" / ".#photo").symlink_to("a lock of Emacs")
    assert not Project(toy.folder).is_stale()
    (toy.folder / "raw" / "other").write_text("1")
    assert Project(toy.folder).is_stale()


def test_what_keeps_a_reader_waiting_is_named_before_dvc_looks(toy: Toy) -> None:
    (toy.folder / "raw").mkdir()
    os.mkfifo(toy.folder / "raw" / "stuck.png")
    toy.write(read={"cmd": "ls raw", "deps": ["raw"]})
    with pytest.raises(ProjectError, match=r"raw/stuck\.png \(a FIFO"):
        Project(toy.folder).is_stale()
    toy.params(ingest="{root: raw}")
    with pytest.raises(SystemExit, match=r"raw/stuck\.png \(a FIFO"):
        look()  # as make repro does


def test_worktrees_keep_apart_what_they_ran(untrained_project: Toy, tmp_path: Path) -> None:
    other = tmp_path / "other"
    untrained_project.git("worktree", "add", "--quiet", "-b", "other", str(other))
    base = untrained_project.git("rev-parse", "HEAD")
    with Workspace(untrained_project.folder) as here, Workspace(other) as there:
        here.mark_judged(base)
        assert (here.judged(), there.judged()) == (base, None)
    untrained_project.git("branch", "champion")
    Toy(other).git("checkout", "--quiet", "champion")
    with pytest.raises(ProjectError, match="in another worktree"):
        Registry(untrained_project.folder).tip()
