"""A ``python`` for tests that has imported what is slow to import, and forks.

``python -m stages.NAME``, a flow, a run of Prefect's or its server start within milliseconds so, in
the folder and with the environment, arguments and streams of who asks, and import this project's
own modules. Signals are handed on, and who is killed takes the process with it. Any other command
goes to the Python of the tests. What is started so has a process group of its own, and is no child
of who asks: tests of either start it without this.
"""

import atexit
import fcntl
import importlib
import json
import logging
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

# Not Polars and ONNX Runtime: they start threads when they are imported, which a fork has not.
MODULES = (
    *("altair", "dvclive", "jinja2", "nltk", "onnx", "pandas", "pydantic", "ruamel.yaml"),
    *("safetensors.torch", "skmultilearn.model_selection", "sklearn.metrics", "timm"),
    *("torchvision.transforms.v2",),
    *("dvc.repo.reproduce", "prefect.deployments.runner", "prefect.flow_engine", "prefect.runner"),
    *("prefect.server.api.server", "uvicorn"),
)
OURS = ("stages.", "evaluation.", "experiments.", "flows.", "dvc", "prefect", "uvicorn", "tests.")
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
safe, *words = (sys.argv[1] == "-P", *sys.argv[1:]) if sys.argv[1:] else (False,)
module = words[safe + 1] if words[safe : safe + 1] == ["-m"] else ""
if not module.startswith({ours!r}):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    asked = [safe, os.getcwd(), {{**os.environ}}, words[safe + 1 :]]
    server.sendall(json.dumps(asked).encode() + b"\\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: server.send(bytes([number])))
    code = int(server.recv(4) or b"1")
    if code < 0:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)
"""


def executable() -> str:
    """This ``python``, for where ``sys.executable`` stands."""
    return str(folder() / "python")


@cache
def folder() -> Path:
    """A folder for ``PATH`` that holds this ``python``; it is there as long as this process.

    The processes that run the tests share it: the first one starts the server that forks, which
    ends with the last one.
    """
    name = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    made = Path(tempfile.gettempdir(), f"tagloom-{name}" if name else tempfile.mkdtemp())
    made.mkdir(exist_ok=True)
    with (made / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "python").exists():
            # It returns when it listens, and leaves a process that does.
            environment = os.environ | {"OMP_NUM_THREADS": "1", "PREFECT_HOME": str(made)}
            subprocess.run([sys.executable, __file__, str(made)], env=environment, check=True)
        atexit.register(os.close, os.open(made / "users", os.O_WRONLY | os.O_NONBLOCK))
    return made


def serve(made: Path) -> list[str]:
    """Forks for whoever asks; returns in the new process, the arguments that it is to run with."""
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1
    # What Prefect has set up of logging, DVC would log by, too.
    logging.root.handlers.clear()
    sys.modules["prefect.logging.configuration"].PROCESS_LOGGING_CONFIG.clear()
    os.chdir("/")
    os.mkfifo(made / "users")
    users = os.open(made / "users", os.O_RDONLY | os.O_NONBLOCK)  # its end is theirs
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(made / "socket"))
        listener.listen()
        text = CLIENT.format(python=sys.executable, address=str(made / "socket"), ours=OURS)
        client = made / "python"
        client.write_text(text)
        client.chmod(0o755)
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that keep a process
        while users not in select.select([listener, users], [], [])[0]:
            asking, _ = listener.accept()
            with asking:
                if not os.fork():
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    sys.executable = str(client)
                    return become(asking)
    shutil.rmtree(made)
    os._exit(0)  # giving all that back that was imported would take seconds


def become(asking: socket.socket) -> list[str]:
    """Keeps a process for who asks, as long as both live; returns in that process."""
    _, streams, *_ = socket.recv_fds(asking, 1, 3)
    with asking.makefile("rb", 0) as lines:
        safe, cwd, environment, arguments = json.loads(lines.readline())
    if process := os.fork():
        threading.Thread(target=hand_on, args=(asking, process), daemon=True).start()
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with suppress(BrokenPipeError):  # who asked is gone
            asking.sendall(b"%d" % code)
        os._exit(0)
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    if environment.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [*([] if safe else [cwd]), *paths]
    return arguments


def hand_on(asking: socket.socket, process: int) -> None:
    """Hands signals on to the process, and kills what it has started when who asked is gone."""
    with suppress(ProcessLookupError):  # it had ended
        while number := asking.recv(1):
            os.kill(process, ord(number))
        os.killpg(process, signal.SIGKILL)


def configure_prefect(module: str) -> None:
    """As if Prefect were imported only now: settings are those of this environment."""
    if module.startswith("flows."):
        prefect = sys.modules.pop("prefect")
        importlib.import_module("flows")  # sets Prefect's settings, and tells a run's process
        sys.modules["prefect"] = prefect
    sys.modules.pop("prefect.engine", None)  # it is about to run as __main__
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging()


if __name__ == "__main__":
    words = serve(Path(sys.argv[1]))
    sys.argv[1:] = words[1:]
    if words[0].startswith(("flows.", "prefect", "tests.flows.", "uvicorn")):
        configure_prefect(words[0])
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
