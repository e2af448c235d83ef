"""An experiment checked with its trainer: every path, choice, bound and metric."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from sweeps.config.experiment import Experiment, Objective
from sweeps.config.mlflow_names import rename, why_refused
from sweeps.config.names import CONFIRMATION_SUFFIX
from sweeps.config.space import Space, Values, parse_space
from sweeps.config.toml import flatten, read_toml, replace_values, validate, value_advice
from sweeps.errors import InputError
from sweeps.text import did_you_mean
from sweeps.trainer import Trainer, load_trainer


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

    def prepare_data(self) -> str:
        """Let the trainer check or create its data; return their fingerprint.

        Raises:
            InputError: the data are missing, or a configuration cannot use them.
        """
        return self._ask(self.trainer.prepare)

    def check_data(self) -> str:
        """Let the trainer check its data without writing; return what it found, for people.

        Raises:
            InputError: the data are missing, or a configuration cannot use them.
        """
        return self._ask(self.trainer.check_data)

    def check_device(self, *, gpu: bool) -> str:
        """Let the trainer check this machine's devices; return what it will use, for people.

        Args:
            gpu: whether the cluster file gives each job a GPU.

        Raises:
            InputError: a device that a configuration or the cluster file asks for is missing.
        """
        return self._ask(lambda configs: self.trainer.check_device(configs, gpu=gpu))

    def _ask(self, question: Callable[[list[BaseModel]], str]) -> str:
        try:
            return question(self.corner_configs())
        except ValueError as error:
            raise InputError(str(error)) from error
        except OSError:
            raise
        except Exception as error:  # a bug of the trainer must not hide what else is checked
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            name = self.experiment.trainer
            raise InputError(
                f"trainer {name!r} cannot check its data or device: {reason}"
            ) from error

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
    _check_metric_names(experiment, trainer, where)
    objective = _objective(experiment.objective, trainer, where)
    experiment = experiment.model_copy(update={"objective": objective})
    base = _validate(experiment.trial, experiment.trial, trainer, f"{where}: [trial]")
    space = parse_space(experiment.space, where)
    _check_grid(experiment, space, where)
    tables = base.model_dump(mode="json")
    _check_seed(experiment, trainer, tables, where)
    for path in space.paths:
        if path not in flatten(tables):
            raise InputError(
                f"{where}: [space] {path!r} is not a field of the trial's configuration"
                f"{did_you_mean(path, flatten(tables))}"
            )
    for values in space.corner_points():
        _validate(replace_values(tables, values), values, trainer, f"{where}: [space]")
    enqueued = tuple(_enqueued(values, space, tables, where) for values in experiment.enqueue)
    for values in enqueued:
        _validate(replace_values(tables, values), values, trainer, f"{where}: [[enqueue]]")
    return ResolvedExperiment(experiment, trainer, space, base, enqueued)


def _validate(
    tables: Mapping[str, Any], given: Mapping[str, Any], trainer: Trainer, where: str
) -> BaseModel:
    """Return `tables` as a configuration of the trainer.

    Args:
        tables: all values.
        given: those of them that stand in the file.
        trainer: whose configuration it is.
        where: the file and the table that an error message names.

    Raises:
        InputError: the trainer refuses a value, or would convert it silently: a number in quotes,
            or a number for true or false.
    """
    config = validate(tables, trainer.config, where)
    taken = flatten(config.model_dump(mode="json"))
    for path, value in flatten(given).items():
        type_taken = type(taken.get(path))
        kinds = {_KINDS.get(type(value)), _KINDS.get(type_taken)}
        advice = value_advice(value, type_taken)
        if len(kinds) == 2 and None not in kinds and advice:
            needed = _KINDS[type_taken]
            raise InputError(f"{where}: {path} = {value!r}: the trainer needs {needed}{advice}")
    return config


_KINDS = {str: "a text", bool: "true or false", int: "a number", float: "a number"}


def _trainer(experiment: Experiment, where: str) -> Trainer:
    try:
        return load_trainer(experiment.trainer)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _check_metric_names(experiment: Experiment, trainer: Trainer, where: str) -> None:
    """Refuse a metric that the trainer or the file names and MLflow does not accept.

    Raises:
        InputError: there is one; the message suggests another name.
    """
    sources = {
        f"trainer {experiment.trainer!r}": (*trainer.bounds, *trainer.test_metrics),
        f"trainer {experiment.trainer!r}, floors": tuple(trainer.floors),
        "[promotion] floors": tuple(experiment.promotion.floors),
    }
    for source, names in sources.items():
        for name in names:
            if (reason := why_refused(name)) is not None:
                better = f", for example to {rename(name)!r}" if rename(name) else ""
                advice = f"rename the metric{better}, in the trainer too"
                raise InputError(f"{where}: {source}: metric {name!r}: {reason}; {advice}")


def _check_grid(experiment: Experiment, space: Space, where: str) -> None:
    """Refuse a grid over a range that has no list of values.

    Raises:
        InputError: there is one.
    """
    if experiment.sampler.kind != "grid":
        return
    for parameter in space.parameters:
        if parameter.domain.points() is None:
            advice = f"write {parameter.path!r} as a list of values, or choose another kind"
            raise InputError(
                f'{where}: [sampler] kind = "grid" tries every combination, and [space] '
                f"{parameter.path!r} is a {parameter.domain}; {advice}"
            )


def _check_seed(
    experiment: Experiment, trainer: Trainer, tables: Mapping[str, Any], where: str
) -> None:
    """Refuse a trainer whose configuration has no field for its seed.

    Raises:
        InputError: it has none.
    """
    if trainer.seed not in flatten(tables):
        raise InputError(
            f"{where}: trainer {experiment.trainer!r}: its configuration has no field "
            f"{trainer.seed!r} for the random seed; add one, or set the trainer's seed to the path "
            f"of another field{did_you_mean(trainer.seed, flatten(tables))}"
        )


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
