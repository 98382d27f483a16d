"""``metrics/train/``: the figures of each epoch as curves, by DVCLive where it is installed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from stages import UserError
from stages.train.distributed import Group
from stages.train.loop import Figures

CURVES = Path("metrics/train")


@contextmanager
def curves(group: Group) -> Iterator[Callable[[Figures], None]]:
    """Yields a function that adds an epoch's figures to the curves; only rank 0 draws any.

    Raises:
        UserError: DVCLive is installed, and the Git repository has no commit yet.
    """
    if not group.is_first:
        yield lambda epoch: None
        return
    if find_spec("dvclive") is None:
        print("train: DVCLive is not installed, so no curves are written to metrics/train")
        yield lambda epoch: None
        return
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    try:
        # DVCLive would edit dvc.yaml and make experiments by itself; both are DVC's business here.
        live = Live(str(CURVES), dvcyaml=None, save_dvc_exp=False, report=None)
    except SCMError as error:
        raise UserError(
            f"DVCLive, which draws the curves, cannot tell the commit: {error}; "
            "make a first one with git commit"
        ) from error
    with live:

        def report(epoch: Figures) -> None:
            for name, figure in epoch.items():
                live.log_metric(name, figure)
            live.next_step()

        yield report
    # DVCLive's summary repeats what metrics/train.json holds.
    Path(live.metrics_file).unlink()
