"""Small real DVC projects for the tests of experiments and flows."""

import json
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.dvc_command import dvc

ROOT = Path(__file__).parents[1]
T = TypeVar("T")

# A change of b leaves first and side as they are; a change of a leaves nothing.
STAGES: dict[str, Any] = {
    "first": {
        "cmd": "echo one; echo two; cp ${a} a.txt",
        "deps": ["${a}"],
        "outs": ["a.txt"],
    },
    "side": {"cmd": "cp a.txt side.txt", "deps": ["a.txt"], "outs": ["side.txt"]},
    "last": {
        "cmd": "python score.py",
        "deps": ["a.txt", "score.py"],
        "params": ["b"],
        "metrics": [{"score.json": {"cache": False}}],
    },
}
FILES = {
    "params.yaml": "a: in.txt\nb: 1\n",
    "in.txt": "in\n",
    "score.py": "import json\n"
    "b = json.loads(open('params.yaml').read().split('b:')[1])\n"
    "print('scoring', b)\n"
    "json.dump({'accuracy': b / 8, 'label': {'cat': b}}, open('score.json', 'w'))\n",
}


class Toy:
    """A DVC project in a folder: ``stages`` is what dvc.yaml holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stages = json.loads(json.dumps(STAGES))

    def write(self, **stages: Any) -> None:
        """Adds stages, or replaces those of the same name."""
        self.stages |= stages
        # JSON is YAML.
        (self.folder / "dvc.yaml").write_text(json.dumps({"stages": self.stages}))

    def begin(self) -> None:
        """Makes a repository of the folder; reproduces and commits what is there."""
        self.write()
        self.git("init", "--quiet")
        self.dvc("init", "--quiet")
        self.dvc("repro", "--quiet")
        self.commit("toy")

    def params(self, **changes: Any) -> None:
        values = {"a": "in.txt", "b": 1} | changes
        text = "".join(f"{key}: {value}\n" for key, value in values.items())
        (self.folder / "params.yaml").write_text(text)

    def own_check(self, code: str) -> None:
        """Gives the project a check of its parameters: ``python -m experiments.params``."""
        folder = self.folder / "experiments"
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "params.py").write_text(code)

    def git(self, *arguments: str) -> str:
        return self._run("git", *arguments)

    def commit(self, message: str) -> None:
        """Commits all there is, as somebody."""
        self.git("add", "--all")
        someone = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        self.git(*someone, "commit", "--quiet", "--allow-empty", "-m", message)

    def dvc(self, *arguments: str) -> str:
        return dvc(self.folder, *arguments)

    def _run(self, *command: str) -> str:
        return subprocess.run(
            command, cwd=self.folder, check=True, capture_output=True, text=True
        ).stdout.strip()

    def sleeping(self) -> int:
        """How many processes ``sleep`` run in the project's folder."""
        count = 0
        for process in psutil.process_iter():
            with suppress(psutil.Error):  # ended meanwhile, or somebody else's
                count += process.name() == "sleep" and process.cwd() == str(self.folder)
        return count


def eventually(look: Callable[[], T], seconds: float = 120, every: float = 0.1) -> T:
    """What ``look`` returns, as soon as it is true; fails when it is not in time.

    Looks each ``every`` seconds: whoever looks at all processes, or asks a server, takes time from
    what is waited for.
    """
    deadline = time.monotonic() + seconds
    while not (value := look()):
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        time.sleep(every)
    return value
