"""A ``python`` for tests that has imported what stages import, and forks: that takes seconds each.

``python -m stages.NAME`` starts within milliseconds so, in the folder and with the environment,
arguments and streams of who asks, and imports the folder's own stages. Any other command goes to
the Python of the tests. To be killed by its process group, a stage has to be started without it.
"""

import atexit
import importlib
import json
import os
import runpy
import select
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
)
CLIENT = """#!{python} -IS
import json, os, socket, sys
if sys.argv[1:2] != ["-m"] or not sys.argv[2].startswith("stages."):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    asked = [os.getcwd(), {{**os.environ}}, sys.argv[2:]]
    server.sendall(json.dumps(asked).encode() + b"\\n")
    sys.exit(ord(server.recv(1) or b"\\1"))
"""


@cache
def folder() -> Path:
    """A folder for ``PATH`` that holds this ``python``; it is there as long as this process."""
    made = tempfile.TemporaryDirectory(prefix="tagloom-")
    atexit.register(made.cleanup)
    address = f"{made.name}/socket"
    client = Path(made.name) / "python"
    client.write_text(CLIENT.format(python=sys.executable, address=address))
    client.chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,  # its end is ours
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert server.stdin and server.stdout
    atexit.register(server.wait)
    atexit.register(server.stdin.close)
    with server.stdout:
        assert server.stdout.readline(), "the server of Pythons did not start"
    return client.parent


def serve(address: str) -> str | None:
    """Forks for whoever asks; returns in the new process, the module that it is to be."""
    for name in MODULES:
        importlib.import_module(name)
    assert threading.active_count() == 1
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that keep a process
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            asking, _ = listener.accept()
            with asking:
                if not os.fork():
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    return become(asking)
    return None


def become(asking: socket.socket) -> str:
    """Keeps a process for who asks, as long as both live; returns in that process."""
    _, streams, *_ = socket.recv_fds(asking, 1, 3)
    with asking.makefile("rb") as lines:
        cwd, environment, (module, *arguments) = json.loads(lines.readline())
    if process := os.fork():
        threading.Thread(target=kill_with, args=(asking, process), daemon=True).start()
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        asking.sendall(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    paths = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:1] = [cwd, *paths]
    sys.argv[1:] = arguments
    return module


def kill_with(asking: socket.socket, process: int) -> None:
    if not asking.recv(1):
        with suppress(ProcessLookupError):  # it had ended, and so had who asked
            os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    if name := serve(sys.argv[1]):
        runpy.run_module(name, run_name="__main__", alter_sys=True)
