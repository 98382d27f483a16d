"""What a search may try: ranges and choices by key, some of which hold under a condition only.

A search file is YAML. ``space`` holds by key (``train.lr``) what to draw from, ``halving`` when a
trial that does not promise much is ended, ``seed`` the numbers that are drawn by::

    space:
      train.lr: {low: 1e-4, high: 3e-2, log: true}
      train.batch_size: {low: 16, high: 64, step: 16}
      train.optimizer: {choices: [adamw, sgd]}
      train.momentum: {low: 0.8, high: 0.99, when: {train.optimizer: sgd}}
    halving: {epochs: 2, factor: 3}
    seed: 7
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from experiments.plan import (
    Params,
    PlanError,
    Planned,
    assignment,
    complaint,
    load,
    plan,
    read,
    slug,
)
from stages import UserError
from stages.params import Positive, PositiveNumber, Section, Seed, check, unknown

if TYPE_CHECKING:  # slow to import
    from optuna.trial import BaseTrial

EPOCHS = "train.epochs"
POINTS = 100  # drawn to be checked before anything runs


class _Drawn(Section):
    """What every key of ``space`` may have.

    Attributes:
        when: by key, the value or values under which this one is drawn; else it stays as it is.
    """

    when: dict[str, Any] = Field(default_factory=dict)

    def holds(self, values: Params) -> bool:
        """Whether the key is drawn, given the ``values`` of those that stand before it."""
        return all(
            key in values and json.dumps(values[key]) in map(json.dumps, _listed(wanted))
            for key, wanted in self.when.items()
        )


class Range(_Drawn):
    """Numbers from ``low`` to ``high``; whole ones where all that is given is whole.

    Attributes:
        step: between two of them; None: every number.
        log: whether each order of magnitude is as likely as the others.
    """

    low: int | float
    high: int | float
    step: Annotated[int, Field(ge=1)] | PositiveNumber | None = None
    log: bool = False

    @property
    def is_whole(self) -> bool:
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    @property
    def shown(self) -> list[Any]:
        """Both ends."""
        return [self.low, self.high]

    @property
    def ends(self) -> list[Any]:
        """The same, as Optuna has them."""
        return self.shown

    def draw(self, trial: "BaseTrial", key: str) -> int | float:
        if self.is_whole:
            step = int(self.step or 1)
            return trial.suggest_int(key, int(self.low), int(self.high), step=step, log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)

    def fault(self) -> str:
        """What makes it no range; empty where it is one."""
        if self.low >= self.high:
            return f"low is {self.low!r}, which is to be less than high, {self.high!r}"
        if self.log and self.step is not None:
            return "it has a step and log; leave one out"
        if self.log and self.low <= 0:
            return f"low is {self.low!r}, but logarithms are of numbers above 0"
        low, high, step = (Decimal(str(each)) for each in (self.low, self.high, self.step or 1))
        if self.step is not None and (high - low) % step:
            return f"steps of {self.step!r} from {self.low!r} do not come to high, {self.high!r}"
        return ""


class Choice(_Drawn):
    """One of some values. Optuna gets them as JSON, which tells 1 from 1.0 and true."""

    choices: Annotated[list[Any], Field(min_length=2)]

    @property
    def shown(self) -> list[Any]:
        """All of them."""
        return self.choices

    @property
    def ends(self) -> list[Any]:
        """The same, as Optuna has them."""
        return [json.dumps(value) for value in self.choices]

    def draw(self, trial: "BaseTrial", key: str) -> Any:
        return json.loads(trial.suggest_categorical(key, self.ends))

    def fault(self) -> str:
        """What makes it no choice; empty where it is one."""
        return "a choice stands there twice" if len({*self.ends}) < len(self.ends) else ""


class Halving(Section):
    """Asynchronous successive halving (Li et al. 2020): who may go on, and after how many epochs.

    Attributes:
        epochs: after which a trial is first compared with those that came as far …
        factor: … of which the best one in so many goes on; and again after ``factor`` times as
            many epochs.
    """

    epochs: Positive
    factor: Annotated[int, Field(ge=2)]


class File(Section):
    """A search file, its space not checked yet."""

    space: Annotated[dict[str, Any], Field(min_length=1)]
    halving: Halving | None = None
    seed: Seed = 0


@dataclass(frozen=True)
class Search:
    """A search over the project: what is drawn, and what is the same in all its trials.

    Attributes:
        name: begins the name of each trial's experiment.
        fixed: what presets and overrides change, by key.
        space: what is drawn, by key; a condition names keys that stand before it.
    """

    name: str
    fixed: Params
    space: Mapping[str, Range | Choice]
    halving: Halving | None
    seed: int

    def settings(self) -> dict[str, Any]:
        """All that the search file says, as JSON has it."""
        return {
            "space": {key: drawn.model_dump() for key, drawn in self.space.items()},
            "halving": self.halving and self.halving.model_dump(),
            "seed": self.seed,
        }

    def draw(self, trial: "BaseTrial") -> Params:
        """What a trial of Optuna's draws, by key: all but what its conditions leave out."""
        values: Params = {}
        for key, drawn in self.space.items():
            if drawn.holds(values):
                values[key] = drawn.draw(trial, key)
        return values

    def decode(self, params: Mapping[str, Any]) -> Params:
        """The values by key of what Optuna keeps of a trial, in the order of the space."""
        return {
            key: json.loads(params[key]) if isinstance(drawn, Choice) else params[key]
            for key, drawn in self.space.items()
            if key in params
        }

    def points(self) -> list[Params]:
        """What is checked before anything runs: each end of each range, each choice, and more.

        Raises:
            PlanError: a key is never drawn.
        """
        import optuna

        from experiments.study import quiet

        quiet()
        sampler = optuna.samplers.RandomSampler(seed=self.seed)
        study = optuna.create_study(sampler=sampler)
        ends = [(key, end) for key, drawn in self.space.items() for end in drawn.ends]
        for key, end in ends:
            study.enqueue_trial({**self._needs(key), key: end})
        points = [self.draw(study.ask()) for _ in range(len(ends) + POINTS)]
        for (key, _), point in zip(ends, points, strict=False):
            if key not in point:
                raise PlanError(f"{key} is never drawn: its conditions exclude each other")
        return list({json.dumps(point): point for point in points}.values())

    def _needs(self, key: str) -> dict[str, str]:
        """Choices under which ``key`` is drawn, as Optuna has them."""
        needs: dict[str, str] = {}
        for parent, values in self.space[key].when.items():
            needs |= self._needs(parent) | {parent: json.dumps(_listed(values)[0])}
        return needs


def read_search(
    root: Path,
    file: str,
    files: Sequence[str] = (),
    overrides: Sequence[str] = (),
    prefix: str = "",
) -> Search:
    """Reads a search file; relative ones are looked for below ``root``.

    Args:
        files: a preset that all trials begin with, or none.
        overrides, prefix: as of ``plan``.

    Raises:
        PlanError: says what is wrong with it, and where.
    """
    current = read(root)
    start = Planned(prefix, dict(map(assignment, overrides)))
    if files:
        planned = plan(root, files, (), overrides, prefix)
        if len(planned) > 1:
            raise PlanError("A search begins with one preset at the most; run one for each")
        start = planned[0]
    content = load(root / file)
    try:
        checked = check(File, content, "search", Path(file))
        space = {key: _read_range(file, key, value) for key, value in checked.space.items()}
    except UserError as error:
        reason = str(error).removeprefix(f"{file}: ").replace("search.", "")
        raise PlanError(f"{file}: {reason}") from error
    for key, drawn in space.items():
        text = complaint(Planned("", {key: drawn.shown}), current)
        if text := text or drawn.fault() or _wrong_condition(key, space):
            raise PlanError(f"{file}: {text if text.startswith(key) else f'{key}: {text}'}")
    if both := space.keys() & dict(map(assignment, overrides)).keys():
        raise PlanError(f"{', '.join(sorted(both))}: in the search, and set for all; leave one out")
    epochs = (current | start.changes).get(EPOCHS)
    if EPOCHS in space:
        epochs = max(space[EPOCHS].shown)
    if checked.halving and epochs is not None and checked.halving.epochs >= epochs:
        raise PlanError(
            f"{file}: halving.epochs is {checked.halving.epochs}, but no trial is longer than "
            f"{EPOCHS}, {epochs}; lower the one or raise the other"
        )
    name = "-".join(filter(None, [start.name, slug(Path(file).stem)]))
    return Search(name, start.changes, space, checked.halving, checked.seed)


def _read_range(file: str, key: str, value: Any) -> Range | Choice:
    where = f"search.space.{key}", Path(file)
    if isinstance(value, dict) and "choices" in value:
        return check(Choice, value, *where)
    return check(Range, value, *where)


def _wrong_condition(key: str, space: Mapping[str, Range | Choice]) -> str:
    """What is wrong with the conditions of ``key``; empty where nothing is."""
    names = list(space)
    before = names[: names.index(key)]
    for parent, values in space[key].when.items():
        if parent not in space:
            return f"when: {unknown(parent, before)} of this search"
        drawn = space[parent]
        if parent not in before or not isinstance(drawn, Choice):
            return f"when: {parent} is to be one of choices that stand before {key}"
        for value in _listed(values):
            if json.dumps(value) not in drawn.ends:
                return f"when: {value!r} is no choice of {parent}"
    return ""


def _listed(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]
