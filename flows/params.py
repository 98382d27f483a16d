"""``params.yaml`` as a whole, checked before anything runs, and its clock, which is Prefect's."""

from collections.abc import Sequence
from pathlib import Path

from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from experiments import params
from experiments.plan import PARAMS, PlanError


def check_params(
    root: Path, changes: Sequence[str] = (), each: Sequence[Sequence[str]] = ()
) -> None:
    """Checks every value of ``params.yaml`` in ``root`` with ``changes``, each KEY=VALUE, in it.

    Args:
        each: further changes, a list of them at a time, each of which is checked by itself.

    Raises:
        PlanError: says which is wrong, and what it may be.
    """
    values = params.params_of(root)
    if values.get("retrain.cron") is not None:
        try:
            CronSchedule(cron=values["retrain.cron"], timezone=values.get("retrain.timezone"))
        except ValidationError as error:
            first = error.errors()[0]
            reason = first["msg"].removeprefix("Value error, ")
            raise PlanError(f"{PARAMS}: retrain.{first['loc'][0]}: {reason}") from None
    params.check_params(root, changes, each)
