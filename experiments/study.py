"""What a search has tried, and what it tries next: a study of Optuna's, kept in a file."""

import csv
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.dvc_project import Experiment, git_file
from experiments.plan import Params, PlanError, differences
from experiments.search import EPOCHS, Search
from experiments.sources import listed
from stages.files import write_csv

if TYPE_CHECKING:  # slow to import
    import optuna

# Below the project: a folder for each search, its name that of the search.
FOLDER = "searches"
STUDY, TRIALS = "study.log", "trials.csv"
# What train writes as it goes, a line an epoch.
CURVE = "metrics/train/plots/metrics/validation/{metric}.tsv"
COLUMNS = ("number", "experiment", "state", "value", "epochs", "problem")


@dataclass(frozen=True)
class Trial:
    """A trial that is to be run, or that runs.

    Attributes:
        name: of its experiment.
        values: what it draws, by key.
        drawn: as Optuna has it.
    """

    name: str
    values: Params
    drawn: "optuna.Trial"

    @property
    def number(self) -> int:
        return self.drawn.number


class Study:
    """The trials of a search over the project in ``root``, and what came of them.

    Kept in ``folder``, in a file that Optuna adds lines to. Nobody else may write there meanwhile:
    who opens a study holds the queue of experiments.

    Args:
        metric: what is to be high, of ``experiments.compare.METRICS``.
        params: by key, all that the trials have in common.
        sources: by path, the hash of what they depend on and no stage makes.
        force: begin anew where the study is there, but was made otherwise.

    Raises:
        PlanError: it was made otherwise.
    """

    def __init__(
        self,
        root: Path,
        search: Search,
        metric: str,
        params: Params,
        sources: Mapping[str, str],
        force: bool = False,
    ) -> None:
        self._root, self._search, self._metric, self._params = root, search, metric, params
        self.folder = root / FOLDER / search.name
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = search.settings() | {"metric": metric}
        made_of = {"settings": settings, "params": params, "sources": dict(sources)}
        self._study = self._open()
        before = self._study.user_attrs.get("made_of")
        if before is not None and (changed := _changes(before, made_of)):
            if not force:
                raise PlanError(
                    f"The search {search.name} is there, but was made otherwise. Begin it anew "
                    "with --force, or keep it and give the new one a --prefix: " + listed(changed)
                )
            self._forget()
            self._study, before = self._open(), None
        if before is None:
            self._study.set_user_attr("made_of", made_of)
        self._killed = [each for each in self._trials() if each.state.name == "RUNNING"]
        self._failed_before = self._count("FAIL")

    def _open(self) -> "optuna.Study":
        import optuna
        from optuna.storages.journal import JournalFileBackend

        quiet()
        path = self.folder / STUDY
        _clear_up(path)
        self._storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        return optuna.create_study(
            storage=self._storage,
            study_name=self._search.name,
            direction="maximize",
            pruner=pruner(self._search),
            load_if_exists=True,
        )

    def _forget(self) -> None:
        import optuna

        optuna.delete_study(study_name=self._search.name, storage=self._storage)

    def _trials(self) -> "list[optuna.trial.FrozenTrial]":
        return self._study.get_trials(deepcopy=False)

    def _count(self, *states: str) -> int:
        return sum(each.state.name in states for each in self._trials())

    @property
    def ended(self) -> int:
        """How many trials count: they are complete, were ended early, or failed just now.

        For those that failed before the study was opened, others may be tried.
        """
        return self._count("COMPLETE", "PRUNED", "FAIL") - self._failed_before

    def next(self) -> Trial:
        """The next one to run: first those that ran when the search was killed, then new ones.

        The same history and seed give the same trial, whether the search was stopped or not.
        """
        import optuna

        if self._killed:
            drawn = optuna.Trial(self._study, self._killed.pop(0)._trial_id)
        else:
            self._study.sampler = sampler(self._search, len(self._trials()))
            drawn = self._study.ask()
        return Trial(f"{self._search.name}-{drawn.number:03d}", self._search.draw(drawn), drawn)

    def watch(self, trial: Trial) -> Callable[[Path], bool]:
        """What ``Queue.run`` asks of the trial's folder now and then: whether to end it early.

        The folder begins with the curve that lies here, or in the commit, which is none of the
        trial's; it is looked at while it is being filled, too.
        """
        path = CURVE.format(metric=self._metric)
        before = [git_file(self._root, "HEAD", path) or ""]
        with suppress(OSError):
            before.append((self._root / path).read_text("utf-8"))

        def is_hopeless(folder: Path) -> bool:
            text = ""
            with suppress(OSError):  # there is none yet, or none any more
                text = (folder / path).read_text("utf-8")
            is_ours = not any(curve.startswith(text) for curve in before)
            return is_ours and self._report(trial, text)

        return is_hopeless

    def _report(self, trial: Trial, curve: str) -> bool:
        """Adds the epochs of a curve that are new; whether the trial is to end with one."""
        known = self._trials()[trial.number].intermediate_values
        last = (self._params | trial.values).get(EPOCHS)
        whole = curve.splitlines(keepends=True)
        rows = csv.DictReader([line for line in whole if line.endswith("\n")], delimiter="\t")
        for epoch, row in enumerate(rows, 1):
            if epoch not in known:
                trial.drawn.report(float(row[self._metric]), epoch)
                if trial.drawn.should_prune() and epoch != last:
                    return True
        return False

    def complete(self, trial: Trial, experiment: Experiment) -> None:
        """The trial ran to its end: its figure is what counts, its curve what others pass."""
        from experiments.compare import Row, row_of  # brings Altair

        row = row_of(experiment)
        if not isinstance(row, Row):
            return self.fail(trial, row)
        path = CURVE.format(metric=self._metric)
        self._report(trial, git_file(self._root, experiment.rev, path) or "")
        self._study.tell(trial.drawn, row.figures[self._metric].value)

    def prune(self, trial: Trial) -> None:
        """The trial was ended early."""
        self._study.tell(trial.drawn, state=_state("PRUNED"))

    def fail(self, trial: Trial, problem: str) -> None:
        """The trial failed, which is no figure; a search that is started again tries another."""
        trial.drawn.set_user_attr("problem", problem)
        self._study.tell(trial.drawn, state=_state("FAIL"))

    def rows(self) -> list[dict[str, Any]]:
        """A row a trial: ``COLUMNS``, and what it drew, by key."""
        return [
            {
                "number": each.number,
                "experiment": f"{self._search.name}-{each.number:03d}",
                "state": each.state.name.lower(),
                "value": each.value if each.state.name == "COMPLETE" else None,
                "epochs": each.last_step or 0,
                "problem": each.user_attrs.get("problem", ""),
            }
            | self._search.decode(each.params)
            for each in self._trials()
        ]

    def epochs(self) -> list[dict[str, Any]]:
        """A row an epoch of a trial: ``number``, ``state`` of the trial, ``epoch``, ``value``."""
        return [
            {
                "number": each.number,
                "state": each.state.name.lower(),
                "epoch": epoch,
                "value": value,
            }
            for each in self._trials()
            for epoch, value in sorted(each.intermediate_values.items())
        ]

    def write(self) -> None:
        """Writes the rows to ``trials.csv``."""
        header = [*COLUMNS, *self._search.space]
        rows = ([row.get(column) for column in header] for row in self.rows())
        write_csv(self.folder / TRIALS, header, rows)

    def importances(self) -> dict[str, float]:
        """How much of the differences in the metric is each key's; none where that cannot be said.

        PED-ANOVA (Watanabe et al. 2023), as Optuna has it.
        """
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of few trials, which the page says
            try:
                return optuna.importance.get_param_importances(self._study)
            except (RuntimeError, ValueError):  # fewer than two, or all alike
                return {}


def sampler(search: Search, number: int) -> "optuna.samplers.BaseSampler":
    """What draws the trial of that number: TPE (Bergstra et al. 2011), at random to begin with."""
    import numpy as np
    import optuna

    seed = np.random.SeedSequence([search.seed, number]).generate_state(1)[0]
    return optuna.samplers.TPESampler(seed=int(seed))


def pruner(search: Search) -> "optuna.pruners.BasePruner":
    """What ends trials early."""
    import optuna

    halving = search.halving
    if halving is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.SuccessiveHalvingPruner(halving.epochs, halving.factor)


def quiet() -> None:
    """Optuna tells of each trial on stderr; here, others do."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)


def _state(name: str) -> "optuna.trial.TrialState":
    from optuna.trial import TrialState

    return TrialState[name]


def _clear_up(path: Path) -> None:
    """Takes off what a process that was killed may have left: half a line, and Optuna's lock."""
    Path(f"{path}.lock").unlink(missing_ok=True)
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What a study was made of and is not any more, for people."""
    settings, sources = ({**before[key], **now[key]} for key in ("settings", "sources"))
    return [
        *(f"{key} changed" for key in settings if _differs(key, before, now, "settings")),
        *differences(before["params"], now["params"]),
        *(f"{path} changed since" for path in sources if _differs(path, before, now, "sources")),
    ]


def _differs(key: str, before: Mapping[str, Any], now: Mapping[str, Any], part: str) -> bool:
    return bool(before[part].get(key) != now[part].get(key))
