"""An experiment: the TOML file that says what to try, and the same checked with its trainer."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from sweeps.config.names import CONFIRMATION_SUFFIX, NAME_RULE, RESERVED, SAFE_NAME
from sweeps.config.space import Space, Values, parse_space
from sweeps.config.toml import StrictModel, flatten, read_toml, replace_values, validate
from sweeps.errors import InputError
from sweeps.text import did_you_mean
from sweeps.trainer import Trainer, load_trainer


class Objective(StrictModel):
    """The metric that trials are compared by."""

    metric: str = Field(
        "",
        description="The metric to optimize, one of the trainer's `bounds`. By default the first "
        "of them.",
    )
    direction: Literal["maximize", "minimize"] = Field(
        "maximize",
        description="Whether the highest or the lowest value is the best. By default the "
        "direction that the trainer gives the metric; a different one is an error.",
    )

    @property
    def maximize(self) -> bool:
        """Whether the highest value is the best; otherwise the lowest is."""
        return self.direction == "maximize"

    @property
    def sign(self) -> int:
        """The factor by which values are multiplied so that higher is better: 1 or -1."""
        return 1 if self.maximize else -1


class Sampler(StrictModel):
    """How the values of new trials are chosen."""

    kind: Literal["tpe", "random", "enqueued"] = Field(
        "tpe",
        description="`tpe`: Optuna's TPE sampler. `random`: independent random values. "
        "`enqueued`: only the trials that the experiment lists in `[[enqueue]]`.",
    )
    startup_trials: int = Field(
        10,
        ge=1,
        description="For `tpe`: how many trials get random values before the sampler uses results.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="The seed of the sampler. The same seed proposes the same trials if their "
        "results arrive in the same order.",
    )


class Pruner(StrictModel):
    """When trials are pruned: asynchronous successive halving (Li et al. 2018, arXiv:1810.05934).

    Trials are compared after the epochs `min_epochs`, `min_epochs * reduction`,
    `min_epochs * reduction**2`, … (the rungs). A trial continues only if it is among the best
    `1 / reduction` of all trials that have reached the same rung so far.
    """

    kind: Literal["none", "successive_halving"] = Field(
        "none",
        description="`successive_halving`, or `none` (the default): every trial runs to its last "
        "epoch.",
    )
    min_epochs: int = Field(1, ge=1, description="The epoch of the first comparison.")
    reduction: int = Field(
        3,
        ge=2,
        description="One in this number of trials continues after a comparison; the next "
        "comparison comes at this multiple of the epoch.",
    )
    rivals: int = Field(
        3,
        ge=1,
        description="How many other trials must have reached the epoch before any trial is "
        "pruned there.",
    )


class Promotion(StrictModel):
    """When a sweep's best model becomes the champion of its registered model."""

    model: str = Field(
        "",
        description="The name of the registered model in MLflow. By default the trainer's "
        "package and the experiment's name, joined by a hyphen.",
    )
    candidates: int = Field(
        3, ge=1, description="How many of the best trials are candidates and are trained again."
    )
    seeds: int = Field(
        3,
        ge=2,
        le=100,
        description="How many times each candidate is trained again, each time with another "
        "random seed.",
    )
    floors: dict[str, float] = Field(
        default_factory=dict,
        description="The lowest values of test metrics (`test/…`) with which a model may be "
        "promoted. By default those of the trainer; a value given here replaces the trainer's.",
    )

    @field_validator("model")
    @classmethod
    def _check_model(cls, name: str) -> str:
        if name and not SAFE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} becomes part of a URI; write {NAME_RULE}")
        return name


class Experiment(StrictModel):
    """The content of the file; `ResolvedExperiment` is the same, checked with its trainer."""

    name: str = Field(
        description="The name of the sweep and of its folder in the runs folder: 1 to 64 "
        "letters, digits, - and _."
    )
    trials: int = Field(
        ge=1,
        le=1_000_000,
        description="How many trials must end: complete, pruned or diverged. Failed trials do "
        "not count.",
    )
    trainer: str = Field(
        description="The trainer, as `module:attribute`, such as `vqvae.sweep:trainer`."
    )
    objective: Objective = Field(
        default_factory=Objective,
        description="The table `[objective]`: the metric to optimize.",
    )
    sampler: Sampler = Field(
        default_factory=Sampler,
        description="The table `[sampler]`: how the values of new trials are chosen.",
    )
    pruner: Pruner = Field(
        default_factory=Pruner,
        description="The table `[pruner]`: when trials are stopped early. By default never.",
    )
    promotion: Promotion = Field(
        default_factory=Promotion,
        description="The table `[promotion]`: how the best model becomes the champion.",
    )
    trial: dict[str, Any] = Field(
        default_factory=dict,
        description="The table `[trial]`: the trainer's configuration, the same in every trial "
        "except for the searched values. Fields left out have the trainer's defaults.",
    )
    space: dict[str, Any] = Field(
        min_length=1,
        description="The table `[space]`: for each searched field, by its dotted path, a list of "
        "choices, a range (`low`, `high`, `log`), or `depends_on` (another searched field with a "
        "list of choices) with `cases` (a list or a range for each of its choices).",
    )
    enqueue: list[dict[str, Any]] = Field(
        default_factory=list,
        description="The tables `[[enqueue]]`: trials to run first, each with values by dotted "
        "path. Paths left out have the values of `[trial]`. By default none.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not SAFE_NAME.fullmatch(name.removesuffix(CONFIRMATION_SUFFIX)):
            raise ValueError(f"{name!r} becomes a folder's name; write {NAME_RULE}")
        if name in RESERVED:
            raise ValueError(f"{name!r} is the name of another folder in runs; choose another name")
        return name

    @property
    def model_name(self) -> str:
        """The name of the registered model."""
        package = self.trainer.partition(":")[0].partition(".")[0]
        return self.promotion.model or f"{package}-{self.name}"


@dataclass(frozen=True)
class ResolvedExperiment:
    """An experiment with its trainer and its search space, checked against each other."""

    experiment: Experiment
    trainer: Trainer
    space: Space
    base: BaseModel
    enqueued: tuple[Values, ...]

    def config(self, values: Mapping[str, Any]) -> BaseModel:
        """Return the configuration of the trial with these values, given by dotted path.

        Raises:
            pydantic.ValidationError: the trainer refuses this combination.
        """
        tables = replace_values(self.base.model_dump(mode="json"), values)
        return self.trainer.config.model_validate(tables)

    def corner_configs(self) -> list[BaseModel]:
        """Return configurations with each choice and each bound, and those that are enqueued."""
        return [self.config(values) for values in (*self.space.corner_points(), *self.enqueued)]

    @property
    def worst_value(self) -> float:
        """The value that a diverged trial gets."""
        return self.trainer.bounds[self.experiment.objective.metric][0]

    def signature_of(self, values: Mapping[str, Any]) -> str:
        """Return the signature of the trial with these values."""
        return config_signature(self.config(values).model_dump(mode="json"))


def config_signature(config: Mapping[str, Any]) -> str:
    """Return eight hexadecimal digits of the SHA-256 digest of a configuration."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def read_experiment(path: Path, trials: int | None = None) -> ResolvedExperiment:
    """Read an experiment file and check it with its trainer.

    Args:
        path: the file.
        trials: the number of trials; None for that of the file.

    Raises:
        InputError: the file is not valid, or does not fit its trainer.
    """
    override = {} if trials is None else {"trials": trials}
    experiment = validate(read_toml(path) | override, Experiment, str(path))
    if experiment.name.endswith(CONFIRMATION_SUFFIX):
        advice = f"names ending in {CONFIRMATION_SUFFIX} are for confirmations; choose another name"
        raise InputError(f"{path}: name = {experiment.name!r}: {advice}")
    return resolve(experiment, str(path))


def resolve(experiment: Experiment, where: str) -> ResolvedExperiment:
    """Check an experiment with its trainer: every path, choice, bound and metric.

    Args:
        experiment: the experiment.
        where: the file that an error message names.

    Raises:
        InputError: something does not fit the trainer.
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
                f"{where}: [space] {path!r} is not a field of the trial's configuration"
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
    """Return the objective with its metric and direction filled in."""
    metric = objective.metric or next(iter(trainer.bounds))
    if metric not in trainer.bounds:
        near = did_you_mean(metric, trainer.bounds)
        raise InputError(
            f"{where}: [objective] metric = {metric!r} is not a metric to optimize{near}"
        )
    worst, best = trainer.bounds[metric]
    direction: Literal["maximize", "minimize"] = "maximize" if worst < best else "minimize"
    if "direction" in objective.model_fields_set and objective.direction != direction:
        raise InputError(
            f"{where}: [objective] direction = {objective.direction!r}: {metric} is a metric to "
            f"{direction}; write {direction!r}, or leave the key out"
        )
    return Objective(metric=metric, direction=direction)


def _enqueued(
    values: Mapping[str, Any], space: Space, tables: Mapping[str, Any], where: str
) -> Values:
    base = flatten(tables)
    full = {path: base[path] for path in space.paths} | dict(values)
    if (reason := space.rejection_reason(full)) is not None:
        raise InputError(f"{where}: [[enqueue]] {reason}")
    return full
