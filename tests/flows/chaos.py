"""A project that is retrained while its processes are killed, and what must hold all the same.

``python -m tests.flows.chaos --rounds 20 --seed 7`` prints a table, a row a kill. In each round new
numbers are delivered, a run is started and one of its processes killed at a random moment of its
life; the next run is left alone. Stages write slowly and in place, so that a kill leaves halves.
Among the numbers are links to others and a FIFO; another project is retrained beside, and the clock
jumps (where there is a C compiler).
"""

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from experiments.dvc_project import fetch
from experiments.registry import Registry, Version
from flows.server import healthy
from tests.experiments.test_sources import state
from tests.flows.retraining_project import JUDGE, PARAMS, make
from tests.toy import ROOT, eventually

# As in a retraining_project, a network is good for the mean of the numbers that were delivered.
STAGE = """
import hashlib, json, pathlib, sys, time
def write(name, worth):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"{worth}\\n" * 20_000
    with path.open("w") as file:
        for start in range(0, len(text), len(text) // 10):
            file.write(text[start : start + len(text) // 10])
            file.flush()
            time.sleep(0.01)
        file.write(hashlib.sha256(text.encode()).hexdigest())
if sys.argv[1] == "ingest":
    files = sorted(pathlib.Path("raw").glob("*.json"))
    write("data/records.parquet", sum(json.loads(file.read_text()) for file in files) / len(files))
elif sys.argv[1] == "train":
    worth = float(pathlib.Path("data/records.parquet").read_text().split()[0])
    if worth > 1000:
        sys.exit("train: more than train.max_mb allows")
    for name in ("data/folds.parquet", "models/network/network.txt", "models/network/words"):
        write(name, worth)
else:
    worth = float(pathlib.Path("models/network/network.txt").read_text().split()[0])
    for name in ("models/decision.json", "models/bundle/network.txt", "models/bundle/words"):
        write(name, worth)
    pathlib.Path("metrics.json").write_text(json.dumps({"worth": worth}))
"""
FILES = {
    "params.yaml": PARAMS,
    "stage.py": STAGE,
    "evaluation/__init__.py": "",  # else the package of this checkout is taken
    "evaluation/judge/__main__.py": JUDGE.replace(
        "MARGIN, SECONDS = 0.1, 0", "MARGIN, SECONDS = 0, 0.5"
    ),
    ".gitignore": "/raw\n",
    "raw/README": "photos",
}
STAGES = {
    "ingest": {
        "cmd": "python stage.py ingest",
        "deps": ["raw", "stage.py"],
        "outs": ["data/records.parquet"],
    },
    "train": {
        "cmd": "python stage.py train",
        "deps": ["data/records.parquet", "stage.py"],
        "outs": ["models/network", "data/folds.parquet"],
    },
    "threshold": {
        "cmd": "python stage.py threshold",
        "deps": ["models/network", "stage.py"],
        "outs": ["models/decision.json", "models/bundle"],
        "metrics": [{"metrics.json": {"cache": False}}],
    },
}

# What is killed, and how it is known among the processes of a run.
TARGETS = {
    "flow": "flows.retrain",
    "dvc": "cli.py exp run",
    "stage": "python stage.py",
    "judge": "evaluation.judge",
    "reaper": "reaper.py",
}
PROMOTING = "flow, promoting"  # from the first ref that changes
SHORT = 0.3  # seconds of the life of what was not seen yet
# A server that was killed comes back at once, or when the run has ended without it.
SERVER, SERVER_GONE = "server", "server, for good"
# Nothing is killed: another project is retrained on the same server, or the clock jumps.
BESIDE, CLOCK = "none, another project beside", "none, the clock jumps"
# libfaketime before 0.9.11 cannot leave the monotonic clock alone: Python's sleep() fails.
COMPILER = shutil.which("cc")
HOUR = 3600
JUMPS = (-48 * HOUR, -HOUR, 3 * HOUR, 400 * 24 * HOUR)  # seconds
LOOK = 0.05  # seconds between two looks at the processes, which take time from the run
LONGEST = 400  # seconds that a run may take
ENDED = re.compile(r"^retrain: (?:(skipped|promoted|refused): )?(.*)", re.MULTILINE)


class Broken(AssertionError):
    """Something that must hold did not."""


@dataclass
class Round:
    """A row of the table."""

    target: str
    after: float  # seconds of the target's life
    ended: str = ""  # how the disturbed run ended
    then: str = ""  # … and the next one
    worth: float = 0.0  # of the champion
    reads: int = 0  # of the champion meanwhile


@dataclass
class Disturbed:
    """A project in ``folder`` whose retrainings are disturbed, and what must be there of it so far.

    Attributes:
        api: address of the Prefect server.
        album: a folder that links among the photos lead to.
        beside: another project.
        lives: seconds that each target lives in a run that is left alone.
    """

    folder: Path
    api: str
    numbers: list[float] = field(default_factory=list)
    lives: dict[str, float] = field(default_factory=dict)
    beside: "Disturbed | None" = None

    def __post_init__(self) -> None:
        self.album = self.folder.with_name(f"{self.folder.name}-album")
        self.clock = self.folder.with_name(f"{self.folder.name}-clock")
        self.log = self.folder.with_name("log")
        self.worth, self.seconds = -1.0, 0.0
        self.experiments: set[str] = set()
        self.versions: list[Version] = []
        self.toy = make(self.folder, FILES, STAGES)
        self.registry = Registry(self.folder)
        self.album.mkdir()
        os.mkfifo(self.folder / "raw" / "stuck.txt")
        (self.folder / "raw" / "loop").symlink_to(".")

    def deliver(self, number: float) -> None:
        """One more photo; from now on the champion is expected to be what it makes better."""
        name = f"{len(self.numbers):03}.json"
        folder = (self.folder / "raw", self.album)[len(self.numbers) % 2]
        (folder / name).write_text(json.dumps(number))
        if folder == self.album:
            to = (folder, Path("../..", folder.name))[len(self.numbers) % 4 == 1]
            (self.folder / "raw" / name).symlink_to(to / name)
        self.kept = state(self.folder / "raw", self.album)
        self.numbers.append(number)
        self.worth = max(self.worth, sum(self.numbers) / len(self.numbers))

    def start(self, log: Path, jumps: bool = False) -> subprocess.Popen[bytes]:
        """A run in a process of its own; its clock jumps with ``jumps``."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": self.api}
        if jumps:
            self.clock.write_text("0")
            library, source = self.clock.with_suffix(".so"), Path(__file__).with_name("clock.c")
            subprocess.run([COMPILER, "-shared", "-fPIC", "-o", library, source], check=True)
            environment |= {"LD_PRELOAD": str(library), "CLOCK_FILE": str(self.clock)}
        with log.open("wb") as out:
            return subprocess.Popen(
                # With -P, this checkout's packages are taken and not those of the project.
                [sys.executable, "-P", "-m", "flows.retrain"],
                cwd=self.folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def undisturbed(self) -> str:
        """A run that is left alone: how it ended. Records how long each target lives."""
        log = self.log
        began, process, seen = time.monotonic(), self.start(log), {}
        while process.poll() is None:
            for target, alive in self.targets(process.pid).items():
                first = seen.setdefault((target, alive.pid), time.monotonic())
                self.lives[target] = max(self.lives.get(target, 0.05), time.monotonic() - first)
            time.sleep(LOOK)
        self.seconds = time.monotonic() - began
        return outcome(log)

    def targets(self, pid: int) -> dict[str, psutil.Process]:
        """The processes of the run ``pid`` that may be killed and live now, by target."""
        alive = {}
        with suppress(psutil.Error):
            alive["flow"] = psutil.Process(pid)
            for process in alive["flow"].children(recursive=True):
                with suppress(psutil.Error):
                    words = process.cmdline()
                    for target, part in TARGETS.items():
                        if part in " ".join(words) and "-c" not in words:
                            alive.setdefault(target, process)
        return alive

    def find(self, pid: int, target: str) -> psutil.Process | None:
        """The process of the run ``pid`` that is to be killed, if it lives now."""
        return self.targets(pid).get(target)

    def disturbed(self, target: str, share: float, server: "Server | None") -> Round | None:
        """A run of which ``target`` is killed after ``share`` of its life.

        None where it had ended before.
        """
        log = self.log
        whole_run = (SERVER, SERVER_GONE, BESIDE, CLOCK)
        after = share * (self.seconds if target in whole_run else self.lives.get(target, SHORT))
        refs = self.refs()
        with Reads(self) as reads, self.start(log, target == CLOCK) as process:
            killed = False
            while process.poll() is None:
                alive = self.find(process.pid, target if target in TARGETS else "flow")
                if alive and not (target == PROMOTING and self.refs() == refs):
                    time.sleep(after)
                    killed = self.disturb(target, alive, share, server)
                    break
                time.sleep(LOOK)
            if target == SERVER:
                server.start()
            process.wait(LONGEST)
            eventually(lambda: not self.left())
        ended = "killed" if process.returncode == -signal.SIGKILL else outcome(log)
        return Round(target, after, ended, reads=reads.count) if killed else None

    def disturb(
        self, target: str, process: psutil.Process, share: float, server: "Server | None"
    ) -> bool:
        """Whether the run still went on when ``target`` happened to it."""
        if target == CLOCK:
            self.clock.write_text(str(JUMPS[int(share * len(JUMPS))]))
        elif target == BESIDE:
            self.beside.deliver(len(self.beside.numbers))
            if (ended := self.beside.undisturbed()) != "promoted":
                raise Broken(f"beside, a run ended as {ended}")
            self.beside.check_end()
        else:
            return kill(process) if "server" not in target else server.kill()
        return True

    def refs(self) -> str:
        return self.toy.git("for-each-ref", "refs/heads", "refs/tags")

    def left(self) -> list[str]:
        """What still runs in the project."""
        commands = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.cwd().startswith(str(self.folder)):
                    commands.append(" ".join(process.cmdline()))
        return commands

    def champion(self) -> float | None:
        """What the model in use is worth, of what DVC has of it; Broken when that is no whole."""
        version = self.registry.champion()
        if version is None:
            return None
        with tempfile.TemporaryDirectory() as name:
            paths = ("models/bundle", "models/decision.json")
            fetch(self.folder, version.rev, version.name, paths, Path(name))
            files = ("bundle/network.txt", "bundle/words", "decision.json")
            (worth,) = {whole(Path(name) / file) for file in files}
        return worth

    def check(self) -> None:
        """Raises Broken where something was lost, damaged or left."""
        experiments = set(self.toy.git("for-each-ref", "--format=%(refname)", "refs/exps").split())
        if lost := self.experiments - experiments:
            raise Broken(f"experiments are lost: {lost}")
        versions = self.registry.versions()
        if versions[: len(self.versions)] != self.versions:
            raise Broken(f"versions are lost: {self.versions}, now {versions}")
        self.experiments, self.versions = experiments, versions
        if status := self.toy.git("status", "--porcelain"):
            raise Broken(f"the checkout was touched: {status}")
        if (photos := state(self.folder / "raw", self.album)) != self.kept:
            raise Broken(f"photos were touched: {photos.items() ^ self.kept.items()}")
        for file in (self.folder / ".dvc" / "cache" / "files").rglob("*"):
            name = (file.parent.name + file.name).removesuffix(".dir")
            is_object = file.is_file() and re.fullmatch(r"[0-9a-f]{32}", name)
            if is_object and hashlib.md5(file.read_bytes()).hexdigest() != name:
                raise Broken(f"{file} does not hold what its name says")
        out = self.folder.with_name("got")
        shutil.rmtree(out, ignore_errors=True)
        self.toy.dvc("artifacts", "get", ".", "model", "--stage", "champion", "--out", str(out))
        for name in ("network.txt", "words"):
            whole(out / name)

    def check_end(self) -> None:
        """After a run that was left alone: Broken unless the champion is what it should be."""
        self.check()
        if abs((worth := self.champion()) - self.worth) > 1e-9:
            raise Broken(f"the champion is worth {worth}, and should be {self.worth}")
        rev = self.registry.champion().rev
        metric = json.loads(self.toy.git("show", f"{rev}:metrics.json"))["worth"]
        if abs(metric - self.worth) > 1e-9:
            raise Broken(f"its metrics say {metric}, and it is worth {self.worth}")


class Reads(threading.Thread):
    """Reads the champion over and over while the block runs; raises what it met at the end."""

    def __init__(self, project: Disturbed) -> None:
        super().__init__(daemon=True)
        self._project, self._stop_it = project, threading.Event()
        self.count, self.error = 0, None

    def __enter__(self) -> "Reads":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop_it.set()
        self.join()
        if self.error:
            raise Broken(f"the champion could not be read: {self.error}") from self.error

    def run(self) -> None:
        while not self._stop_it.wait(0.5):
            try:
                if self._project.champion() is None:
                    raise Broken("there is none")
                self.count += 1
            except Exception as error:
                self.error = error
                return


def whole(path: Path) -> float:
    """The number in a file that a stage wrote; Broken when it is a part of one."""
    text, _, digest = path.read_text().rpartition("\n")
    if hashlib.sha256(f"{text}\n".encode()).hexdigest() != digest:
        raise Broken(f"{path.name} is half-written")
    return float(text.split()[0])


def outcome(log: Path) -> str:
    """The last sentence of a run's output."""
    text = log.read_text("utf-8", "replace")
    sentences = ENDED.findall(text)
    if sentences:
        state, message = sentences[-1]
        return state or f"failed: {message}"
    return "no sentence: " + (text.strip().splitlines() or ["nothing"])[-1]


class Server:
    """A Prefect server of its own, that can be killed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{self._port}/api"
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--port", str(self._port)],
            env=os.environ | {"PREFECT_HOME": str(self._home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(lambda: healthy(self.api), 90)

    def kill(self) -> bool:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return True


def kill(process: psutil.Process) -> bool:
    """Whether it lived until now."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        process.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def disturb_in_time(
    project: Disturbed, target: str, generator: random.Random, server: Server | None = None
) -> Round:
    """A run that was disturbed before it ended; whether it was or not, all must hold after it."""
    while True:
        row = project.disturbed(target, generator.random(), server)
        project.check()
        if row is not None:
            return row
        project.deliver(better_or_worse(project, generator))


def rounds(
    project: Disturbed,
    targets: Sequence[str],
    generator: random.Random,
    server: Server | None = None,
) -> Iterator[Round]:
    """A round for each of ``targets``; raises Broken when something does not hold."""
    project.deliver(0.0)
    for _ in range(2):  # the second one judges
        ended = project.undisturbed()
        if ended != "promoted":
            raise Broken(f"left alone, a run ended as {ended}")
        project.check_end()
        project.deliver(len(project.numbers))
    for target in targets:
        row = disturb_in_time(project, target, generator, server)
        if target == SERVER_GONE:
            server.start()
        row.then = project.undisturbed()
        if row.then not in ("promoted", "refused", "skipped"):
            raise Broken(f"after the kill of {target}, the next run ended as {row.then}")
        project.check_end()
        row.worth = project.worth
        yield row
        project.deliver(better_or_worse(project, generator))


def better_or_worse(project: Disturbed, generator: random.Random) -> float:
    return len(project.numbers) if generator.random() < 0.8 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.flows.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    kinds = [*TARGETS, PROMOTING, SERVER, SERVER_GONE, BESIDE]
    if COMPILER:
        kinds.append(CLOCK)
    else:
        print("No clock jumps: there is no C compiler.")
    targets = [kinds[i % len(kinds)] for i in range(options.rounds)]
    generator.shuffle(targets)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        folder = Path(name)
        os.environ["DVC_SITE_CACHE_DIR"] = str(folder / "site")
        server = Server(folder / "prefect")
        try:
            print("| killed | after | the run ended as | the next | champion | read meanwhile |")
            print("|---|---|---|---|---|---|", flush=True)
            project = Disturbed(folder / "project", server.api)
            project.beside = Disturbed(folder / "other", server.api)
            project.beside.deliver(0.0)
            project.beside.undisturbed()
            for row in rounds(project, targets, generator, server):
                print(
                    f"| {row.target} | {row.after:.2f} s | {row.ended} | {row.then} "
                    f"| {row.worth:.3f} | {row.reads} times |",
                    flush=True,
                )
        finally:
            server.kill()


if __name__ == "__main__":
    main()
