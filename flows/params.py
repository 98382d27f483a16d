"""``params.yaml`` as a whole, checked before anything runs."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from flows.plan import PARAMS, Params, PlanError, read

# A project that can check its parameters has this: python -m stages.params KEY=VALUE …
CHECK = "stages/params.py"


def check_params(root: Path, changes: Sequence[str] = ()) -> None:
    """Checks every value of ``params.yaml`` in ``root`` with ``changes``, each KEY=VALUE, in it.

    What a value may be is the project's to say; ``root`` may be a clone, with another commit's.

    Raises:
        PlanError: says which is wrong, and what it may be.
    """
    check_clock(root)
    if not (root / CHECK).is_file():
        return
    module = CHECK.removesuffix(".py").replace("/", ".")
    done = subprocess.run(
        [sys.executable, "-m", module, *changes],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlanError(done.stderr.strip())


def params_of(root: Path) -> Params:
    """Those of ``params.yaml`` in ``root``, by whole key; none where a project has no such file.

    Raises:
        PlanError: the file cannot be read.
    """
    return read(root) if (root / PARAMS).is_file() else {}


def check_clock(root: Path) -> None:
    """Raises PlanError where ``retrain.cron`` or ``retrain.timezone`` is none for Prefect."""
    params = params_of(root)
    if params.get("retrain.cron") is None:
        return
    from prefect.client.schemas.schedules import CronSchedule  # slow, where nothing else needs it

    try:
        CronSchedule(cron=params["retrain.cron"], timezone=params.get("retrain.timezone"))
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        raise PlanError(f"{PARAMS}: retrain.{first['loc'][0]}: {reason}") from None
