"""An experiment: the TOML file that says what to try, and the same resolved against its trainer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from sweeps.config.names import CONFIRMATION_SUFFIX, RESERVED, SAFE_NAME
from sweeps.config.space import Space, Values, parse_space
from sweeps.config.toml import StrictModel, flatten, read_toml, replace_values, validate
from sweeps.errors import InputError
from sweeps.text import did_you_mean
from sweeps.trainer import Trainer, load_trainer


class Objective(StrictModel):
    """What the best trial is the best at."""

    metric: str = ""
    """If a file names none, the first of the trainer's `bounds`."""
    direction: Literal["maximize", "minimize"] = "maximize"
    """Not needed in a file: the trainer knows which way its metrics are better."""

    @property
    def maximize(self) -> bool:
        """Whether the highest value is the best, or the lowest."""
        return self.direction == "maximize"

    @property
    def sign(self) -> int:
        """By which a value is multiplied so that more is better."""
        return 1 if self.maximize else -1


class Sampler(StrictModel):
    """How trials are proposed."""

    kind: Literal["tpe", "random", "enqueued"] = "tpe"
    """`enqueued`: nothing but what the experiment lists."""
    startup_trials: int = Field(
        10, ge=1, description="trials drawn at random before the sampler learns"
    )
    seed: int = Field(0, ge=0, lt=2**32)


class Pruner(StrictModel):
    """When a trial is given up: asynchronous successive halving (Li et al. 2018, arXiv:1810.05934).

    At epochs `min_epochs`, `min_epochs * reduction`, … a trial goes on only if it is among the
    best `1 / reduction` of all trials that came so far; never while fewer than `rivals` did.
    """

    kind: Literal["none", "successive_halving"] = "none"
    min_epochs: int = Field(1, ge=1)
    reduction: int = Field(3, ge=2)
    rivals: int = Field(3, ge=1)


class Promotion(StrictModel):
    """When a sweep's best model becomes the one in use."""

    model: str = Field("", description="registered as; none: trainer's package and experiment")
    candidates: int = Field(3, ge=1, description="the best trials that are trained again")
    seeds: int = Field(3, ge=2, le=100, description="how often each of them is")
    floors: dict[str, float] = Field(default_factory=dict)
    """Test figures to reach at least, over those that the trainer sets."""

    @field_validator("model")
    @classmethod
    def _check_model(cls, name: str) -> str:
        if name and not SAFE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} becomes part of a URI: 1 to 64 letters, digits, - and _")
        return name


class Experiment(StrictModel):
    """The file as it stands; `Resolved` has what it means to its trainer."""

    name: str
    trials: int = Field(ge=1, le=1_000_000)
    trainer: str
    objective: Objective = Field(default_factory=Objective)
    sampler: Sampler = Field(default_factory=Sampler)
    pruner: Pruner = Field(default_factory=Pruner)
    promotion: Promotion = Field(default_factory=Promotion)
    trial: dict[str, Any] = Field(default_factory=dict)
    space: dict[str, Any] = Field(min_length=1)
    enqueue: list[dict[str, Any]] = Field(default_factory=list)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not SAFE_NAME.fullmatch(name.removesuffix(CONFIRMATION_SUFFIX)):
            raise ValueError(f"{name!r} becomes a folder's name: 1 to 64 letters, digits, - and _")
        if name in RESERVED:
            raise ValueError(f"{name!r} is the name of another folder among the runs; take another")
        return name

    @property
    def model_name(self) -> str:
        """What its best model is registered as."""
        package = self.trainer.partition(":")[0].partition(".")[0]
        return self.promotion.model or f"{package}-{self.name}"


@dataclass(frozen=True)
class ResolvedExperiment:
    """An experiment, its trainer and its space, found to fit each other."""

    experiment: Experiment
    trainer: Trainer
    space: Space
    base: BaseModel
    enqueued: tuple[Values, ...]

    def config(self, values: Mapping[str, Any]) -> BaseModel:
        """The configuration of the trial with these values.

        Raises:
            pydantic.ValidationError: the trainer refuses this combination.
        """
        tables = replace_values(self.base.model_dump(mode="json"), values)
        return self.trainer.config.model_validate(tables)

    def corner_configs(self) -> list[BaseModel]:
        """Configurations that may arise: one for each choice and bound, and what is enqueued."""
        return [self.config(values) for values in (*self.space.corner_points(), *self.enqueued)]

    @property
    def worst_value(self) -> float:
        """What a trial that went wrong is told to be worth."""
        return self.trainer.bounds[self.experiment.objective.metric][0]

    def signature_of(self, values: Mapping[str, Any]) -> str:
        """The signature of the trial with these values."""
        return config_signature(self.config(values).model_dump(mode="json"))


def config_signature(config: Mapping[str, Any]) -> str:
    """Eight characters that stand for the content of a configuration."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def read_experiment(path: Path, trials: int | None = None) -> ResolvedExperiment:
    """Read an experiment file and resolve it.

    Args:
        path: the file.
        trials: the number of trials, where it is not to be the file's.

    Raises:
        InputError: something in it is wrong, or does not fit its trainer.
    """
    given = {} if trials is None else {"trials": trials}
    experiment = validate(read_toml(path) | given, Experiment, str(path))
    if experiment.name.endswith(CONFIRMATION_SUFFIX):
        mend = f"names that end in {CONFIRMATION_SUFFIX} are those of confirmations; take another"
        raise InputError(f"{path}: name = {experiment.name!r}: {mend}")
    return resolve(experiment, str(path))


def resolve(experiment: Experiment, where: str) -> ResolvedExperiment:
    """Hold an experiment against its trainer: every path, choice, bound and metric.

    Raises:
        InputError: something does not fit; `where` is the file that the message names.
    """
    trainer = _trainer(experiment, where)
    objective = _objective(experiment.objective, trainer, where)
    experiment = experiment.model_copy(update={"objective": objective})
    base = validate(experiment.trial, trainer.config, f"{where}: [trial]")
    space = parse_space(experiment.space, where)
    tables = base.model_dump(mode="json")
    for path in space.paths:
        if path not in flatten(tables):
            raise InputError(
                f"{where}: [space] {path!r} is no field of the trial"
                f"{did_you_mean(path, flatten(tables))}"
            )
    for values in space.corner_points():
        validate(replace_values(tables, values), trainer.config, f"{where}: [space]")
    enqueued = tuple(_enqueued(values, space, tables, where) for values in experiment.enqueue)
    for values in enqueued:
        validate(replace_values(tables, values), trainer.config, f"{where}: [[enqueue]]")
    return ResolvedExperiment(experiment, trainer, space, base, enqueued)


def _trainer(experiment: Experiment, where: str) -> Trainer:
    try:
        return load_trainer(experiment.trainer)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _objective(objective: Objective, trainer: Trainer, where: str) -> Objective:
    """The objective with the direction that its metric has."""
    metric = objective.metric or next(iter(trainer.bounds))
    if metric not in trainer.bounds:
        near = did_you_mean(metric, trainer.bounds)
        raise InputError(f"{where}: [objective] metric = {metric!r} is none to optimize{near}")
    worst, best = trainer.bounds[metric]
    direction: Literal["maximize", "minimize"] = "maximize" if worst < best else "minimize"
    if "direction" in objective.model_fields_set and objective.direction != direction:
        raise InputError(f"{where}: [objective] {metric} is one to {direction}")
    return Objective(metric=metric, direction=direction)


def _enqueued(
    values: Mapping[str, Any], space: Space, tables: Mapping[str, Any], where: str
) -> Values:
    base = flatten(tables)
    full = {path: base[path] for path in space.paths} | dict(values)
    if (reason := space.rejection_reason(full)) is not None:
        raise InputError(f"{where}: [[enqueue]] {reason}")
    return full
