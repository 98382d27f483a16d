"""A project of one's own: a Git and DVC repository with the pipeline, for one's own photos.

Photos are never moved or changed: DVC keeps a copy of them, or they are read where they are.
``params.yaml`` says how they are read, and how to learn from so many.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ruamel.yaml import YAML

from experiments.dvc_project import ProjectError, git, git_folder, git_or_none
from experiments.params import check_all
from experiments.plan import PARAMS
from experiments.template import Template, check_committed, commit, set_values, written
from stages import UserError
from stages.params import flatten

if TYPE_CHECKING:
    import torch

Care = Literal["copy", "link", "in-place"]
RAW = Path("data/raw")
FEW = 2000  # photos; for so many, each is seen in several views …
FEW_PHOTOS = "presets/features.yaml"  # … and learnt from as this says
BACKBONE = "timm/tf_efficientnet_lite0"
SIDE = 224  # pixels
MANY = 20_000  # photos; of up to so many, features of each place are kept, of larger photos, …
LARGER_SIDE = 320  # pixels; …
KEPT_PLACES = 256_000  # bytes a photo: 10 × 10 places, 1,280 features in half precision
UNAIDED = "small_cnn"  # where no weights can be had; it learns from nothing, from small photos
UNAIDED_SIDE = 64
BATCH = 8  # photos, to see how fast a backbone is
README = """# {name}

Labels for photos like those of {root}, learnt with Tagloom.

```sh
dvc repro                     # runs what is not up to date; the result: report/index.html
git add . && git commit       # keeps its figures, and what made them
dvc exp run -S train.lr=5e-4  # tries a change; python -m experiments.compare shows all tries
tagloom predict PHOTO         # asks the model
tagloom update                # merges what is new in Tagloom
```

How photos and labels are read, and all else that can be set: [params.yaml](params.yaml). What data
can look like: [docs/data.md](docs/data.md).
"""


class Recipe(NamedTuple):
    """How to learn: values of ``params.yaml`` by whole key, and a sentence on each choice."""

    values: dict[str, Any]
    reasons: list[str]


def recipe(photos: int, has_captions: bool, source: Template, weights: str) -> Recipe:
    """What suits so many photos: a pretrained backbone, frozen, so that it sees each photo once.

    Args:
        weights: the backbone's: ``pretrained``, or a file. Where the hub cannot be reached, a small
            network learns from nothing.

    Raises:
        UserError: the file is not there, or is of another network.
    """
    learns_from = "photos and their captions" if has_captions else "photos; there are no captions"
    reasons = [f"train.inputs: {learns_from}"]
    if weights != "pretrained":
        weights = str(Path(weights).expanduser().resolve())
    is_few = photos <= FEW and not has_captions
    keeps_places = photos <= MANY and not is_few
    side = LARGER_SIDE if keeps_places else SIDE
    try:
        seconds = photos * seconds_a_photo(BACKBONE, side, weights)
    except UserError as error:
        if weights != "pretrained":
            raise
        return _unaided(photos, source, error, reasons)
    values: dict[str, Any] = {
        "ingest.image_size": side,
        "train.backbone": BACKBONE,
        "train.weights": weights,
        "train.freeze": True,
        "train.feature_norm": "batch",
        "train.augment.shift": 0,
    }
    reasons.append(
        f"train.freeze: {BACKBONE} stays as it is and sees each photo once, so that what learns is "
        "quick; with a GPU, try train.freeze=false"
    )
    if keeps_places:
        values["train.pooling"] = "attention"
        reasons.append(
            f"train.pooling: each label looks at photos of {side} pixels where it is likeliest, so "
            f"that small things are found; the cache takes {photos * KEPT_PLACES / 1e9:.1f} GB"
        )
    if is_few:
        values = flatten(YAML(typ="safe", pure=True).load(source.read(FEW_PHOTOS))) | values
        views = values["train.views"]
        seconds *= views
        reasons.append(f"train.views {views}: few photos are seen in several views, each once")
    return Recipe(values, [*reasons, _takes(seconds)])


def _unaided(photos: int, source: Template, error: UserError, reasons: list[str]) -> Recipe:
    """What learns without weights of others."""
    values = {"ingest.image_size": UNAIDED_SIDE, "train.backbone": UNAIDED, "train.weights": "none"}
    epochs = source.params()["train"]["epochs"]
    seconds = photos * epochs * 3 * seconds_a_photo(UNAIDED, UNAIDED_SIDE, "none")  # back: twice
    why = (
        f"train.backbone: {UNAIDED} learns from nothing, which takes many photos. With the weights "
        f"of {BACKBONE} fewer teach more, but {error}; tagloom init takes it as --weights"
    )
    return Recipe(values, [*reasons, why, _takes(seconds)])


def _takes(seconds: float) -> str:
    return f"this machine's {_device().type} needs about {_duration(seconds)} for that"


def seconds_a_photo(backbone: str, side: int, weights: str) -> float:
    """How long this machine's GPU, or else its processor, takes for a photo, by one batch.

    Raises a ``UserError`` where the weights cannot be had.
    """
    import torch

    from stages.network.nets import backbones

    device = _device()
    network = backbones.build(backbone, side, weights)[0].to(device).eval()
    photos = torch.zeros(BATCH, 3, side, side, device=device)
    with torch.inference_mode():
        for _ in range(2):  # the first prepares
            started = time.perf_counter()
            network(photos).sum().item()
    return (time.perf_counter() - started) / BATCH


def init(
    folder: Path,
    photos: Path,
    values: Mapping[str, Any],
    source: Template,
    care: Care = "copy",
    into: bool = False,
) -> Path:
    """Makes a project in ``folder`` and commits it; returns the photos' place in ``params.yaml``.

    Args:
        photos: the folder of photos and of what says their labels.
        values: for ``params.yaml``, by whole key, but for ``ingest.root``.
        care: ``copy``: DVC keeps them, so that each commit has its own; ``link``: a link in the
            project leads to them; ``in-place``: ``params.yaml`` names where they are.
        into: an existing repository takes the project in, in ``folder``.

    Raises:
        UserError: something is there that would be in the way; nothing was written then.
        ProjectError: Git or DVC could not do what they were asked for.
    """
    folder, photos = folder.resolve(), photos.resolve()  # "…/../…" DVC would take in wrongly
    content = source.params()
    root = photos if care == "in-place" else RAW / photos.name
    set_values(content, {**values, "ingest.root": str(root)})
    check_all(YAML(typ="safe", pure=True).load(written(content)))
    existing, is_new = check_init(folder, source, into), not folder.exists()
    if folder.is_relative_to(photos):
        raise UserError(f"{folder} is among the photos, {photos}; name a folder beside them")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if existing is None:
            git(folder, "init", "--quiet", "--initial-branch=main")
        take_template(folder, source)
        ours = [PARAMS, ".dvc", *keep_photos(folder, photos, root, care)]
        (folder / PARAMS).write_text(written(content), "utf-8")
        if not (folder / "README.md").exists():
            text = README.format(name=folder.name, root=photos.name)
            (folder / "README.md").write_text(text, "utf-8")
            ours.append("README.md")
        git(folder, "add", "--", *ours)  # what else may lie there is the user's
        git(folder, "commit", "--quiet", "--message", f"Learn from the photos of {photos.name}")
    except BaseException:
        if is_new:  # all of it is ours
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return root


def check_init(folder: Path, source: Template, into: bool) -> Path | None:
    """The top of the repository that the folder, which need not exist, is in; None: in none.

    Raises:
        UserError: ``init`` would be in the way of what is there.
    """
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
    try:
        existing, _ = git_folder(there)
    except ProjectError:
        if into:
            raise UserError(f"{folder} is in no Git repository; leave --into away") from None
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is not empty; name a folder that there is not yet") from None
        return None
    if not into:
        raise UserError(f"{folder} is in the repository {existing}; --into makes it a part of that")
    check_committed(existing)
    if taken := [name for name in source.names() if (folder / name).exists()]:
        raise UserError(f"{folder} has {taken[0]} already; name another folder")
    return existing


def take_template(folder: Path, source: Template) -> None:
    """Brings the template's files into the folder of a repository, by a commit of their own."""
    top, below = git_folder(folder)
    new = commit(top, below, source)
    if git_or_none(top, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        git(top, "reset", "--quiet", "--hard", new)
    else:
        message = git(top, "log", "-1", "--format=%s", new)
        git(
            *(top, "merge", "--quiet", "--no-ff", "--allow-unrelated-histories"),
            *("--message", message, new),
        )


def keep_photos(folder: Path, photos: Path, root: Path, care: Care) -> list[str]:
    """Brings the photos to ``root`` in the project's folder; returns what Git is to know of it."""
    if care == "in-place":
        return []
    (folder / root).parent.mkdir(parents=True, exist_ok=True)
    if care == "link":
        (folder / root).symlink_to(photos)
        return [str(root)]
    command = [sys.executable, "-m", "dvc", "add", "--quiet", "--out", str(root), str(photos)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProjectError(f"DVC could not take in {photos}: {done.stderr.strip()}")
    return [f"{root}.dvc", str(root.with_name(".gitignore"))]


def _device() -> "torch.device":
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
