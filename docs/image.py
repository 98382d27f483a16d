"""``python -m docs.image BUNDLE``: does what deploy/Dockerfile says, without Docker.

Its files are copied into a folder of their own, and its commands run there in a new virtual
environment. What the image starts is started by a user without a home, who may write nothing but
temporary files, and is asked about a photo. Needs root, to become that user, and the package index.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "Dockerfile"
LONGEST = 120.0  # seconds until it is ready


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction of a Dockerfile and what follows it, in order; joined where lines go on."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    for line in filter(None, joined.splitlines()):
        name, _, rest = line.partition(" ")
        yield name, rest


def build(folder: Path) -> tuple[list[str], dict[str, str], int]:
    """Follows the instructions below ``folder``.

    Returns:
        The command that the image starts, its environment, and its user's number.
    """
    environment, user = folder / "venv", 0
    venv.create(environment, with_pip=True)
    variables = {"PATH": f"{environment / 'bin'}:/usr/bin:/bin"}
    place, command = folder, []
    for name, rest in instructions(FILE.read_text("utf-8")):
        if name == "WORKDIR":
            place = folder / rest.lstrip("/")
            place.mkdir(exist_ok=True)
        elif name == "COPY":
            *sources, target = rest.split()
            for source in sources:
                copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy2
                copy(ROOT / source, place / target)
        elif name == "RUN":
            print(f"RUN {rest}", flush=True)
            subprocess.run(rest, shell=True, cwd=place, env=os.environ | variables, check=True)
        elif name == "ENV":
            key, _, value = rest.partition("=")
            variables[key] = str(folder / value.lstrip("/"))
        elif name == "USER":
            user = int(rest.partition(":")[0])
        elif name in ("ENTRYPOINT", "CMD"):
            command += json.loads(rest)
    return command, variables, user


def ask(port: int) -> dict[str, object]:
    """What the service says of a photo, once it is ready."""
    photo = io.BytesIO()
    Image.new("RGB", (64, 48), "red").save(photo, "PNG")
    body = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.png"\r\n\r\n'
    body += photo.getvalue() + b"\r\n--x--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", body, headers)
    deadline = time.monotonic() + LONGEST
    while True:
        try:
            with urllib.request.urlopen(request) as answer:
                said: dict[str, object] = json.load(answer)
                return said
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def main(bundle: Path, port: int = 18000) -> None:
    with tempfile.TemporaryDirectory(prefix="image-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        command, variables, user = build(folder)
        shutil.copytree(bundle, folder / "bundle")  # a link is followed: DVC may have made it
        size = sum(file.lstat().st_size for file in (folder / "venv").rglob("*") if file.is_file())
        print(f"{size / 1e9:.2f} GB, beside Python", flush=True)
        print(f"USER {user}: {shlex.join(command)}", flush=True)
        scratch = folder / "tmp"
        scratch.mkdir(mode=0o1777)
        scratch.chmod(0o1777)
        for workers in (1, 2):
            more = [*command, "--port", str(port), "--workers", str(workers), "--notice", "0"]
            process = subprocess.Popen(
                [str(folder / "venv/bin" / more[0]), *more[1:]],
                cwd="/",
                env=variables | {"TMPDIR": str(scratch)},
                user=user,
                group=user,
                extra_groups=[],
            )
            try:
                print(json.dumps(ask(port))[:200], flush=True)
            finally:
                process.terminate()
                status = process.wait(timeout=60)
            print(f"{workers} workers: ended with {status}", flush=True)
        left = [str(file) for file in folder.rglob("*") if file.lstat().st_uid == user]
        print(f"left behind by user {user}: {left}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
