"""The protocol that a trainer implements, and `load_trainer`, which imports a trainer by its name.

A sweep can search over anything that is trained in epochs. To make your own training searchable,
write one module with an object that has all members of `Trainer`, and name it in an experiment:
`trainer = "my_package.my_module:trainer"`. A sweep asks for nothing that is not described here.

`sweeps.BaseTrainer` and `sweeps.EpochTrainer` have defaults for most of them; docs/your-trainer.md
shows how to use them. `vqvae/sweep.py` is the trainer of this repository, and has all members.
"""

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel

from sweeps.errors import InputError


class Epoch(Protocol):
    """The row of one finished epoch. The epoch's checkpoint stores the same row."""

    @property
    def epoch(self) -> int:
        """The number of the epoch, counted from 1."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics by name, in the form `group/name` (`train/loss`, `val/loss`).

        If the objective's metric is missing or not a finite number, the trial has diverged.
        A metric whose name ends in `_per_second` is shown as the speed of the training. Every
        other metric must come out the same if the epoch is computed again. MLflow accepts letters,
        digits, `_`, `-`, `.`, `:`, spaces and slashes in a name; it shows any other character as
        `_`, and `sweeps status` names the metrics concerned.
        """

    @property
    def timestamp(self) -> int:
        """When the epoch ended, in milliseconds since 1970."""

    @property
    def seconds(self) -> float:
        """How long the epoch took in seconds, with validation and checkpoint."""

    @property
    def diverged(self) -> str | None:
        """Why further training is useless (for example: the loss is not finite); None otherwise.

        The trial ends with this epoch. Its value is the worst one of its metric.
        """


@dataclass(frozen=True)
class FinishedEpoch:
    """An `Epoch` as a plain value: what a sweep stores of an epoch, and what `fit` may yield."""

    epoch: int
    metrics: Mapping[str, float]
    timestamp: int
    seconds: float
    diverged: str | None = None


class Scores(Protocol):
    """The scores of a packaged model on the test split."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Metrics by name, as `test/…`; for each `val/x` of `test_metrics` there is `test/x`."""

    @property
    def patients(self) -> Mapping[str, Mapping[str, float]]:
        """The same metrics for each patient: images of one patient are not independent."""

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """95 % confidence intervals (low, high) over patients, by metric, where they are known."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The test data: `name`, `digest` (of the content), `source` and `profile` (a mapping)."""


class Objective(Protocol):
    """The metric that decides which epoch is the best one."""

    @property
    def metric(self) -> str:
        """The name of the metric, one of the trainer's `bounds`."""

    @property
    def maximize(self) -> bool:
        """True if the highest value is the best, False if the lowest is."""


class Trainer(Protocol):
    """Everything that a sweep needs from a trainer.

    Commands of `sweeps` import the trainer's module, so the import must be fast: import torch and
    other large packages inside the methods.

    A trainer may also have:
    - `main_metrics`, a list of names: the metrics that a person wants to see first, beside the
      objective;
    - `charts`, a mapping from titles to lists of metrics: which curves share a chart of the report.
      Metrics that it leaves out get charts by their names: `train/loss` and `val/loss` share one;
    - `methods`, a text: what is trained and how it is scored, for the report's methods paragraph.
    """

    config: type[BaseModel]
    """The class of the configuration: a frozen pydantic model that forbids unknown keys."""

    bounds: Mapping[str, tuple[float, float]]
    """The metrics that a sweep may optimize, each with its (worst, best) value.

    The order of the two values gives the direction: (0.0, 1.0) is maximized, (1.0, 0.0) minimized.
    A diverged trial gets the worst value. The first metric is the default objective. A name that
    MLflow does not accept is refused before anything is trained.
    """

    test_metrics: Collection[str]
    """The metrics in `bounds` that `evaluate` also measures on the test split (as `test/…`)."""

    seed: str
    """The dotted path of the random seed in the configuration, such as `training.seed`."""

    floors: Mapping[str, float]
    """The lowest values of test metrics with which a model may be promoted, by metric."""

    def prepare(self, configs: Sequence[Any]) -> str:
        """Check the data before any job starts; create them if the configuration asks for that.

        Args:
            configs: configurations that together contain each choice and each bound of the
                search space.

        Returns:
            A fingerprint of the data. Equal data have equal fingerprints, in any folder.

        Raises:
            ValueError: a configuration does not work with these data; the message says why.
        """

    def check_data(self, configs: Sequence[Any]) -> str:
        """Check the data as `prepare` does, but write nothing.

        Data that `prepare` would create need not exist. `sweeps plan` and `sweeps doctor` call it.

        Args:
            configs: as for `prepare`.

        Returns:
            What was found or will be created, in one line for people.

        Raises:
            ValueError: the data are missing or not valid, a folder that the training needs cannot
                be written, or a configuration does not work with these data.
        """

    def check_device(self, configs: Sequence[Any], *, gpu: bool) -> str:
        """Check that this machine has the devices on which the configurations are to be trained.

        It is called where trials will run: here for local jobs, otherwise in the doctor's job.

        Args:
            configs: as for `prepare`.
            gpu: whether the cluster file gives each job a GPU.

        Returns:
            What the trials will be trained on, in one line for people.

        Raises:
            ValueError: a device is missing.
        """

    def epochs(self, config: Any) -> int:
        """Return how many epochs a trial has if nothing ends it early."""

    def fit(
        self,
        config: Any,
        folder: Path,
        *,
        continue_from: Sequence[Path],
        threads: int,
        should_stop: Callable[[], bool],
        objective: Objective,
        accumulation_steps: int,
    ) -> Iterator[Epoch]:
        """Train, and yield the row of each finished epoch.

        Checkpoints: write `folder/last.pt`, the latest epoch, and `folder/best.pt`, the first
        epoch with the best value of the objective's metric. An epoch's checkpoint contains its
        row, and is complete on disk before the row is yielded. You may write other files in
        `folder` (no folders); they are removed when the trial has ended.

        Continuing: look for a checkpoint in `folder`, then in each folder of `continue_from`. If
        there is one, yield its row first and continue with the next epoch. On a CPU with the same
        `threads`, the result must equal that of an uninterrupted training, bit for bit. If a
        checkpoint is damaged, use the one before it. If none is intact, begin with epoch 1.

        Data: in a SLURM job the environment variable SWEEP_SCRATCH may name a folder on a disk of
        the node, which all workers of the job share and which is removed at the job's end. A copy
        of the data there is read more quickly than a network file system. It may vanish.

        Args:
            config: the configuration of the trial, an instance of the class `config`.
            folder: where to write checkpoints; it exists.
            continue_from: checkpoint folders of earlier attempts, the latest first; read only.
            threads: how many CPU threads to compute with.
            should_stop: call it before each epoch; if it returns True, return without another
                row. Another attempt continues the trial later. If `fit` returns early for any
                other reason than `should_stop` or a diverged epoch, the trial has failed.
            objective: the metric that decides which epoch is the best one.
            accumulation_steps: compute each batch in this number of micro-batches and add up
                their gradients. The optimizer step is the same except for rounding, and needs
                less memory. Earlier epochs of the trial may have had another number.
        """

    def max_accumulation_steps(self, config: Any) -> int:
        """Return the smallest power of two at which micro-batches cannot get any smaller.

        A trial that is still out of memory at this number has diverged.
        """

    def classify_error(
        self, error: Exception
    ) -> Literal["out_of_memory", "process_lost", "environment_unavailable", "bug"]:
        """Return what kind of failure an exception of `fit` is.

        `out_of_memory`: the trial is retried, first with exclusive use of the device, then with
        more accumulation steps. `process_lost`: this process cannot compute any more (a CUDA
        error, for example), and another process retries the trial. `environment_unavailable`: the
        data or a file server do not respond, and the trial is retried later. `bug`: the trial has
        failed. An `OSError` always counts as `environment_unavailable` and is not passed in here.
        """

    def write_figure(self, config: Any, folder: Path, figure: Path) -> None:
        """Write a PNG of results of the best model in `folder`; an error here is only logged.

        A trainer may also write `preview.png` beside `figure`: a small picture of the same that
        is about as wide as high. MLflow's image grid then shows it instead of the figure, with a
        longer side of 256 pixels.
        """

    def export(self, config: Any, folder: Path, destination: Path) -> None:
        """Write the best model in `folder` as a package: programs that run without this code.

        The folder `destination` must appear complete or not at all: write under another name,
        then rename. The model is the program `model.pt2`, which maps one tensor to one tensor.
        `package.json` has the keys `programs` (file names and their SHA-256 digests), `input` and
        `output` (`shape`, with -1 for any size, and `dtype`), `example` (optional: the name of a
        JSON file with one input), `requirements` (pinned), and two texts in Markdown: `about` (the
        model) and `use` (how to use it).

        Raises:
            ValueError: the package does not give the same results as the model.
        """

    def evaluate(self, config: Any, package: Path, out: Path) -> Scores:
        """Score a package on the test split; write figures and tables into the folder `out`.

        Scores must be reproducible: the same package on the same data, the same scores.

        Raises:
            ValueError: the package is missing or damaged, or the data cannot be read.
        """

    def usage(self, config: Any, model: str) -> Sequence[str]:
        """Return a command, as a list of words, with which a person can use a registered model.

        Args:
            config: the configuration of the trial; it says where the data are.
            model: the URI of the model, `models:/<name>@<alias>`.
        """


def main_metrics(trainer: Trainer) -> Sequence[str]:
    """Return the metrics that the trainer wants to be shown first; it need not name any."""
    return tuple(getattr(trainer, "main_metrics", ()))


def charts(trainer: Trainer) -> Mapping[str, Sequence[str]]:
    """Return the metrics of each chart by its title; the trainer need not name any."""
    return dict(getattr(trainer, "charts", {}))


def methods_text(trainer: Trainer) -> str:
    """Return what is trained and how it is scored, in sentences; empty if it is not said."""
    return str(getattr(trainer, "methods", ""))


def load_trainer(name: str) -> Trainer:
    """Import a trainer by its name, `module:attribute`.

    Raises:
        InputError: the name does not have this form, the module cannot be imported, or the
            attribute is missing or not a trainer.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        advice = "write module:attribute, as in my_package.my_module:trainer"
        raise InputError(f"trainer {name!r} is not a valid name; {advice}")
    if str(Path.cwd()) not in sys.path:  # your own trainer may be in the folder you work in
        sys.path.append(str(Path.cwd()))
    try:
        trainer = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        reason = f"no module named {error.name!r}; is it installed in this environment?"
        raise InputError(f"trainer {name!r}: {reason}") from error
    except AttributeError as error:
        raise InputError(f"trainer {name!r}: module {module!r} has no {attribute!r}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"trainer {name!r}: cannot be imported: {reason}") from error
    if (lacking := _why_no_trainer(trainer)) is not None:
        raise InputError(f"trainer {name!r} is not a trainer: {lacking}")
    return cast(Trainer, trainer)


def _why_no_trainer(found: Any) -> str | None:
    """Return why an object is not a trainer; None if it may be one."""
    if isinstance(found, type):
        return f"it is a class; make an object of it, trainer = {found.__name__}(), and name that"
    if missing := [member for member in _MEMBERS if not hasattr(found, member)]:
        advice = "subclass sweeps.EpochTrainer or sweeps.BaseTrainer, which have defaults"
        return f"it has no {', '.join(missing)}; {advice}, or see sweeps/trainer.py"
    if not (isinstance(found.config, type) and issubclass(found.config, BaseModel)):
        return "its config is not a class derived from pydantic's BaseModel"
    if found.config.model_config.get("extra") != "forbid":
        unknown = "unknown keys of an experiment would be ignored"
        return f'{unknown}; write class {found.config.__name__}(BaseModel, extra="forbid")'
    return None if found.bounds else "its bounds name no metric to optimize"


_MEMBERS = (
    *("config", "bounds", "test_metrics", "seed", "floors"),
    *("prepare", "check_data", "check_device", "epochs", "fit"),
    *("max_accumulation_steps", "classify_error"),
    *("write_figure", "export", "evaluate", "usage"),
)
