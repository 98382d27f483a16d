"""DVC remotes, a folder and a real S3 server: what clones get from them, what retraining sends."""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from prefect.client.orchestration import SyncPrefectClient

from experiments.dvc_project import Project, ProjectError, Transient, fetch, push
from experiments.registry import BRANCH, Registry
from experiments.workspace import FOLDER, Workspace
from tests.flows.retraining_project import deliver, in_use, run
from tests.toy import ROOT, Toy, eventually

KEY, SECRET = "AKIAQ3EGTHISISAKEYID", "wJalrXUtnFEMIthisisthesecretaccesskey"


@dataclass
class S3:
    """A server: its address, with the bucket ``models``; it fails while the file exists."""

    address: str
    failing: Path


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    failing = tmp_path_factory.mktemp("s3") / "failing"
    command = [sys.executable, "-m", "tests.flows.s3", str(failing)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, cwd=ROOT, **options) as process:
        yield S3(process.stdout.readline().strip(), failing)
        process.terminate()


@pytest.fixture
def s3(_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """The server with an empty bucket; its client gives up at once."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for method, path in (("POST", "moto-api/reset"), ("PUT", "models")):
        request = urllib.request.Request(f"{_server.address}/{path}", method=method)
        urllib.request.urlopen(request).close()
    yield _server
    _server.failing.unlink(missing_ok=True)


def add_remote(toy: Toy, kind: str, s3: S3) -> None:
    """Makes a remote the default one, and commits that."""
    address = {"folder": "../store", "s3": "s3://models/toy"}[kind]
    toy.dvc("remote", "add", "--default", "store", address)
    if kind == "s3":
        toy.dvc("remote", "modify", "store", "endpointurl", s3.address)
    toy.commit("remote")


def clone(toy: Toy, name: str = "clone") -> Toy:
    """What somebody else has after ``git clone``: neither data nor cache."""
    folder = toy.folder.parent / name
    toy.git("clone", "--quiet", ".", str(folder))
    return Toy(folder)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_clone_without_data_has_nothing_to_do(
    kind: str, toy: Toy, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    (toy.folder / "other.txt").write_text("other")
    add_remote(toy, kind, s3)
    toy.dvc("push")
    toy.git("config", "user.name", "t")
    toy.git("config", "user.email", "t@localhost")
    toy.dvc("exp", "run", "--quiet", "--name", "tried", "--set-param", "a=other.txt")
    hub = toy.folder.parent / "hub"
    toy.git("clone", "--quiet", "--bare", ".", str(hub))
    toy.git("remote", "add", "origin", str(hub))
    toy.dvc("exp", "push", "origin", "tried")

    elsewhere = clone(Toy(hub))
    monkeypatch.chdir(elsewhere.folder)
    assert Project(elsewhere.folder).is_stale()
    elsewhere.dvc("pull")
    assert "Data and pipelines are up to date" in elsewhere.dvc("repro")
    assert (elsewhere.folder / "a.txt").read_text() == "in\n"
    elsewhere.dvc("exp", "pull", "origin", "tried")
    elsewhere.dvc("exp", "apply", "tried")
    assert (elsewhere.folder / "a.txt").read_text() == "other"
    assert not Project(elsewhere.folder).is_stale()


def test_what_is_in_use_is_to_be_had_from_the_remote(
    retraining_project: Toy, s3: S3, client: SyncPrefectClient
) -> None:
    add_remote(retraining_project, "s3", s3)
    for key, value in (("access_key_id", KEY), ("secret_access_key", SECRET)):
        retraining_project.dvc("remote", "modify", "--local", "store", key, value)
    deliver(retraining_project, "1", 1)
    assert run()[0] == "Promoted"
    registry = Registry(retraining_project.folder)
    first = registry.champion()
    elsewhere = clone(retraining_project)
    shutil.copy(retraining_project.folder / ".dvc" / "config.local", elsewhere.folder / ".dvc")
    assert in_use(elsewhere) == 1

    s3.failing.touch()
    deliver(retraining_project, "2", 2)
    for _ in range(2):
        name, message = run()
        assert name == "Failed"
        assert message.startswith("dvc push to the remote store failed: ")
        assert "Service Unavailable" in message
        assert message.endswith("before the remote has it: the next run sends the rest")
        assert registry.champion() == first
        assert in_use(retraining_project) == 1
        # The second time nothing is trained.
        assert len(retraining_project.dvc("exp", "list", "--name-only").split()) == 2
    s3.failing.unlink()
    assert run()[0] == "Promoted"
    elsewhere.git("fetch", "--quiet", "--tags")
    assert in_use(elsewhere) == 1.5

    # Somebody else, with the same photos, goes on where this one is.
    for file in (retraining_project.folder / "raw").glob("*.json"):
        shutil.copy(file, elsewhere.folder / "raw")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere.folder)
        assert run()[0] == "Skipped"

    def last(kind: str, order: str) -> str:
        return client.request("POST", f"/{kind}/filter", json={"sort": order}).text

    eventually(lambda: "dvc push to the remote store failed" in last("logs", "TIMESTAMP_DESC"))
    assert first.name in last("artifacts", "UPDATED_DESC")
    shown = last("logs", "TIMESTAMP_DESC") + last("artifacts", "UPDATED_DESC")
    shown += last("flow_runs", "START_TIME_DESC") + last("task_runs", "ID_DESC")
    shown += retraining_project.git("log", "--all", "--patch")
    assert KEY not in shown
    assert SECRET not in shown


def track(toy: Toy, *command: str) -> None:
    """Lets DVC have the photos, by ``command``, in Git's place."""
    toy.git("rm", "--quiet", "--cached", "-r", "raw")
    if command[0] != "add":
        shutil.rmtree(toy.folder / "raw")
    toy.dvc(*command)
    toy.commit(command[0])


def test_photos_that_were_added_come_from_the_remote(retraining_project: Toy, s3: S3) -> None:
    add_remote(retraining_project, "folder", s3)
    deliver(retraining_project, "1", 1)
    track(retraining_project, "add", "raw")
    retraining_project.dvc("push")
    store, away = (
        retraining_project.folder.parent / "store",
        retraining_project.folder.parent / "away",
    )
    store.rename(away)
    shutil.rmtree(retraining_project.folder / ".dvc" / "cache")
    name, message = run()
    assert name == "Failed"
    assert message.startswith("raw.dvc tracks what is neither in DVC's cache nor in a remote")
    away.rename(store)
    assert run()[0] == "Promoted"
    # What stages made comes from there, too. What is added later counts when it is committed.
    shutil.rmtree(retraining_project.folder / ".dvc" / "cache")
    shutil.rmtree(retraining_project.folder / FOLDER)
    deliver(retraining_project, "2", 2)
    with Workspace(retraining_project.folder) as workspace:
        assert workspace.uncommitted == ["raw, which is not as raw.dvc has it (dvc add raw)"]
    assert run()[0] == "Skipped"
    retraining_project.dvc("add", "raw")
    retraining_project.commit("more")
    with Workspace(retraining_project.folder) as workspace:
        assert not workspace.uncommitted
    assert run()[0] == "Promoted"
    assert in_use(retraining_project) == 1.5


def test_photos_that_are_imported_are_updated(retraining_project: Toy) -> None:
    source = retraining_project.folder.parent / "source"
    (source / "photos").mkdir(parents=True)
    (source / "photos" / "1.json").write_text("1")
    track(retraining_project, "import-url", str(source / "photos"), "raw")
    (source / "photos" / "2.json").write_text("2")
    assert run()[0] == "Promoted"
    assert run()[0] == "Skipped"
    assert in_use(retraining_project) == 1.5
    assert "nfiles: 2" in retraining_project.git("show", f"{BRANCH}:raw.dvc")
    assert retraining_project.git("status", "--porcelain") == ""
    source.rename(source.with_name("away"))
    name, message = run()
    assert name == "Failed"
    assert message.startswith("dvc update raw.dvc failed: failed update data - dependency '")
    assert message.endswith("/source/photos' does not exist")

    source.with_name("away").rename(source)
    imported = retraining_project.folder / "raw.dvc"
    imported.write_text(imported.read_text().replace(str(source), "../source"))
    retraining_project.commit("relative")
    assert run()[1].startswith("raw.dvc imports from ../source/photos, which is another place")


@pytest.mark.parametrize("how", ["--no-download", "--to-remote", "--version-aware"])
def test_photos_that_are_imported_from_a_bucket(
    how: str, retraining_project: Toy, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bucket = boto3.client("s3")
    versions = {"Status": "Enabled" if how == "--version-aware" else "Suspended"}
    bucket.put_bucket_versioning(Bucket="models", VersioningConfiguration=versions)
    bucket.put_object(Bucket="models", Key="photos/1.json", Body="1")
    add_remote(retraining_project, "folder", s3)
    track(retraining_project, "import-url", how, "s3://models/photos", "raw")
    was_downloaded = how == "--version-aware"
    assert (retraining_project.folder / "raw").exists() == was_downloaded
    assert run()[0] == "Promoted"
    bucket.put_object(Bucket="models", Key="photos/1.json", Body="2")
    bucket.put_object(Bucket="models", Key="photos/2.json", Body="3")
    assert run()[0] == "Promoted"
    assert in_use(retraining_project) == 2.5
    # As it was: of what has been overwritten since, only versions still tell, or the remote.
    elsewhere = clone(retraining_project)
    if how != "--no-download":
        elsewhere.dvc("pull", "raw.dvc")
        assert (elsewhere.folder / "raw" / "1.json").read_text() == "1"


def test_photos_of_another_repository_are_updated(retraining_project: Toy, tmp_path: Path) -> None:
    other = Toy(tmp_path / "other")
    (other.folder / "photos").mkdir(parents=True)
    (other.folder / "photos" / "1.json").write_text("1")
    other.git("init", "--quiet")
    other.commit("one")
    track(retraining_project, "import", str(other.folder), "photos", "--out", "raw")
    (other.folder / "photos" / "2.json").write_text("2")
    other.commit("two")
    assert run()[0] == "Promoted"
    assert in_use(retraining_project) == 1.5
    imported = retraining_project.folder / "raw.dvc"
    address = "http://user:hunter2@127.0.0.1:9/photos"
    imported.write_text(imported.read_text().replace(str(other.folder), address))
    retraining_project.commit("password")
    name, message = run()
    assert (name, message[:26]) == ("Failed", "dvc update raw.dvc failed:")
    assert "http://127.0.0.1:9/photos" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (".", "which holds the project itself"),
        ("raw/..", "which holds the project itself"),
        ("..", "which holds the project itself"),
        ("/", "which holds the project itself"),
        ("../photos", "outside the repository, give a full path"),
    ],
)
def test_a_folder_that_cannot_be_taken_in(raw: str, message: str, toy: Toy) -> None:
    (toy.folder / "params.yaml").write_text(f"a: in.txt\nb: 1\ningest:\n  root: {raw}\n")
    toy.commit("other photos")
    with pytest.raises(ProjectError, match=message), Workspace(toy.folder):
        pass


def test_a_remote_that_keeps_versions_is_refused(toy: Toy) -> None:
    assert push(toy.folder) is None
    toy.dvc("remote", "add", "--default", "store", "s3://models")
    toy.dvc("remote", "modify", "store", "version_aware", "true")
    with pytest.raises(ProjectError, match="The remote store keeps versions itself"):
        push(toy.folder)


def test_what_a_commit_made_is_read_from_the_remote_of_today(toy: Toy, s3: S3) -> None:
    old = toy.git("rev-parse", "HEAD")
    add_remote(toy, "folder", s3)
    toy.dvc("push")
    shutil.rmtree(toy.folder / ".dvc" / "cache")
    got = toy.folder.parent / "got"
    fetch(toy.folder, old, "the commit", ["a.txt"], got)
    assert (got / "a.txt").read_text() == "in\n"
    toy.dvc("remote", "add", "--force", "store", "s3://models/toy")
    toy.dvc("remote", "modify", "store", "endpointurl", "http://127.0.0.1:9")
    toy.dvc("remote", "modify", "--local", "store", "access_key_id", KEY)
    toy.dvc("remote", "modify", "--local", "store", "secret_access_key", SECRET)
    with pytest.raises(Transient, match=r"a\.txt of the commit cannot be read: Could not connect"):
        fetch(toy.folder, old, "the commit", ["a.txt"], got)
