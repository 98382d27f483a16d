"""The commands of the documents: each is run by a test or said not to be, and each is understood.

Ours and DVC's are read by their own parsers, so that no option is named that there is not.
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby, pairwise
from pathlib import Path

import pytest
from dvc.cli import parse_args
from typer.main import get_command

from experiments import params
from tagloom.__main__ import app
from tests.conftest import ROOT
from tests.project.makefile import TARGETS
from tests.project.test_documents import DOCUMENTS, name

PAGES = [file for file in DOCUMENTS if file.stem != "CHANGELOG"]  # that names what is gone, too
BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:tagloom \w|dvc \w|python -m \w+\.\w)[^`…]* -[^`…]*)`")  # with options
GROUPS = ("artifacts", "exp", "metrics", "plots", "remote")  # of DVC's subcommands
OURS = ("experiments", "evaluation", "flows")  # whose modules have argparse's parsers
RUN = {  # the file of tests that runs it
    "dvc add": "experiments/test_workspace.py",
    "dvc artifacts get": "experiments/test_registry.py",
    "dvc exp run": "pipeline/test_pipeline.py",
    "dvc exp show": "pipeline/test_pipeline.py",
    "dvc import-url": "experiments/test_remote.py",
    "dvc metrics diff": "pipeline/test_pipeline.py",
    "dvc pull": "experiments/test_remote.py",
    "dvc push": "experiments/test_remote.py",
    "dvc remote add": "experiments/test_remote.py",
    "dvc remote modify": "experiments/test_remote.py",
    "dvc repro": "project/test_wheel.py",
    "dvc update": "experiments/test_remote.py",
    "make back": "project/test_automation.py",
    "prefect deploy": "flows/test_pool.py",
    "prefect worker": "flows/test_pool.py",
    "python -m benchmarks.device": "benchmarks/test_device.py",
    "python -m benchmarks.parcels": "benchmarks/test_device.py",
    "python -m evaluation.ensemble": "evaluation/test_ensemble.py",
    "python -m experiments.compare": "experiments/test_compare.py",
    "python -m experiments.params": "project/test_commands.py",
    "python -m experiments.registry": "experiments/test_registry.py",
    "python -m flows.reproduce": "flows/test_command.py",
    "python -m flows.retrain": "flows/test_command.py",
    "python -m flows.sweep": "flows/test_command.py",
    "tagloom compare": "command/test_command.py",
    "tagloom explain": "command/test_command.py",
    "tagloom export": "command/test_command.py",
    "tagloom info": "command/test_command.py",
    "tagloom init": "project/test_wheel.py",
    "tagloom look": "experiments/test_look.py",
    "tagloom next": "command/test_next.py",
    "tagloom predict": "command/test_command.py",
    "tagloom serve": "serve/test_command.py",
}
NOT_RUN = {
    "cd": "the shell's",
    "curl": "another program; test_service.py asks the same of the service",
    "docker": "needs Docker's daemon; python -m docs.image builds and runs one image of two",
    "dvc plots diff": "draws what dvc plots show does, which test_pipeline.py runs",
    "export": "the shell's",
    "git": "Git's own",
    "grep": "another program",
    "install": "another program",
    "label-studio": "no dependency of ours; its exports are read in test_label_studio.py",
    "make check": "the suite comes after it",
    "make quick": "is the suite",
    "make repro": "installs the lock; test_pipeline.py runs the dvc repro that follows",
    "make test": "is the suite",
    "make ui": "installs the lock; test_serve.py runs the python -m flows.serve that follows",
    "pip": "downloads",
    "pre-commit": "downloads",
    "prefect work-pool": "Prefect's own; workers of a pool are run in test_pool.py",
    "python -m pytest": "is the suite",
    "python -m venv": "Python's own",
    "source": "the shell's",
    "systemctl": "needs systemd; test_deploy.py has it verify the unit",
    "ray": "needs several machines; test_cluster.py starts two nodes on one",
    "torchrun": "needs several machines; test_distributed.py runs the same launcher on one",
    "touch": "another program",
}


def split(text: str) -> Iterator[list[str]]:
    """The words of each command of a block, or of a piece, of shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        for ends, command in groupby(words, lambda word: word in (";", "&&", "|")):
            if not ends:
                yield [word for word in command if not re.match("[A-Z_]+=", word)]


def commands(file: Path, pattern: re.Pattern[str]) -> list[list[str]]:
    """All commands in blocks, or within sentences, of a document."""
    found = pattern.findall(file.read_text("utf-8"))
    texts = [each[-1] if isinstance(each, tuple) else " ".join(each.split()) for each in found]
    return [command for text in texts for command in split(text) if command]


def key(command: list[str]) -> str:
    """What ``RUN`` or ``NOT_RUN`` calls it."""
    program, *rest = [Path(command[0]).name, *command[1:]]
    plain = [word for word in rest if word[0] != "-"]
    if program in ("python", "python3"):
        return f"python -m {rest[1]}"
    if program == "dvc":
        return " ".join(["dvc", *plain[: 1 + (plain[0] in GROUPS)]])
    return f"{program} {plain[0]}" if program in ("make", "prefect", "tagloom") else program


class Parsed(Exception):
    """Raised where a program would go on to what it is for."""


PARSE = argparse.ArgumentParser.parse_args


def stop(parser: argparse.ArgumentParser, arguments: list[str]) -> None:
    PARSE(parser, arguments)
    raise Parsed


def check(command: list[str]) -> None:
    """Raises where the program would not understand its options."""
    program, *arguments = command
    if program == "dvc":
        parse_args(arguments)
    elif program == "tagloom":
        subcommand = get_command(app).get_command(None, arguments[0])
        parser = subcommand.make_parser(subcommand.context_class(subcommand))
        parser.parse_args(arguments[1:])
    elif program == "make":
        assert arguments[0] in TARGETS
    elif key(command).startswith(tuple(f"python -m {package}." for package in OURS)):
        is_package = find_spec(arguments[1]).submodule_search_locations
        module = import_module(f"{arguments[1]}{'.__main__' if is_package else ''}")
        with pytest.raises(Parsed):
            module.main(arguments[2:])


@pytest.mark.parametrize("file", PAGES, ids=name)
def test_commands_are_understood(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    wrong = []
    for command in (*commands(file, BLOCK), *commands(file, INLINE)):
        try:
            check(command)
        except (Exception, SystemExit) as error:
            wrong.append((shlex.join(command), str(error), capsys.readouterr().err))
    assert wrong == []


def test_changes_of_parameters_are_sound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for command in (command for file in PAGES for command in commands(file, BLOCK)):
        changes = [value for option, value in pairwise(command) if option in ("-S", "--grid")]
        if key(command) == "python -m experiments.params":
            changes += command[3:]
        params.main([each.partition(",")[0] for each in changes])


def test_each_command_is_run_by_a_test_or_said_not_to_be():
    blocks = {key(command) for file in PAGES for command in commands(file, BLOCK)}
    assert blocks == RUN.keys() | NOT_RUN.keys()
    for command, test in RUN.items():
        text = (ROOT / "tests" / test).read_text("utf-8")
        assert command.split()[-1].rpartition(".")[2] in text, (command, test)
