"""Base classes for a trainer of your own: defaults for all that a trainer need not say.

`BaseTrainer` leaves `config`, `bounds`, `epochs` and `fit` to you. `EpochTrainer` also has `fit`,
with checkpoints and continuing: you write one epoch, and how its state is saved and loaded.
docs/your-trainer.md writes a trainer step by step.

A sweep knows neither class: the interface is the protocol in `sweeps/trainer.py`.
"""

import io
import math
import operator
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from pydantic import BaseModel

from sweeps.checkpoint import (
    BestEpoch,
    Checkpoint,
    adopt_checkpoint,
    find_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from sweeps.errors import InputError
from sweeps.seeding import imported_libraries, seeded
from sweeps.trainer import Epoch, FinishedEpoch, Objective, Scores, Trainer

FOR_PROMOTION = ("export", "evaluate", "usage")
"""The members that only `sweeps promote` needs."""


class BaseTrainer(ABC):
    """A trainer with defaults for everything but `config`, `bounds`, `epochs` and `fit`.

    The defaults ask for no data and promise nothing: the trainer checks nothing before the sweep,
    makes no figures, and its models cannot be promoted. Replace what you need;
    `sweeps.trainer.Trainer` says what each member must do.
    """

    config: type[BaseModel]
    """The class of the configuration: `class Config(BaseModel, frozen=True, extra="forbid")`."""
    bounds: Mapping[str, tuple[float, float]]
    """The metrics that can be optimized, each with its (worst, best) value."""
    seed: str = "seed"
    """The dotted path of the random seed in the configuration."""

    main_metrics: Sequence[str] = ()
    charts: Mapping[str, Sequence[str]] = {}
    methods: str = ""
    test_metrics: Collection[str] = ()
    floors: Mapping[str, float] = {}

    @abstractmethod
    def epochs(self, config: Any) -> int:
        """Return how many epochs a trial has if nothing ends it early."""

    @abstractmethod
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
        """Train, and yield a `FinishedEpoch` for each epoch; see `sweeps.trainer.Trainer.fit`."""

    def prepare(self, configs: Sequence[Any]) -> str:
        """Check the data as `check_data` does; the fingerprint is empty, as none is known."""
        self.check_data(configs)
        return ""

    def check_data(self, configs: Sequence[Any]) -> str:  # noqa: ARG002 (for those who override it)
        """Check nothing."""
        return "not checked by the trainer"

    def check_device(self, configs: Sequence[Any], *, gpu: bool) -> str:  # noqa: ARG002
        """Check nothing."""
        return "not checked by the trainer"

    def max_accumulation_steps(self, config: Any) -> int:  # noqa: ARG002
        """Return 1: the trainer knows no micro-batches."""
        return 1

    def classify_error(
        self, error: Exception
    ) -> Literal["out_of_memory", "process_lost", "environment_unavailable", "bug"]:
        """Recognise a lack of memory and a lost CUDA device, as torch reports them."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        text = str(error).lower() if isinstance(error, RuntimeError) else ""
        if kinds & {"MemoryError", "OutOfMemoryError"} or "out of memory" in text:
            return "out_of_memory"
        return "process_lost" if "AcceleratorError" in kinds or "cuda error" in text else "bug"

    def write_figure(self, config: Any, folder: Path, figure: Path) -> None:  # noqa: B027
        """Write no figure."""

    def export(self, config: Any, folder: Path, destination: Path) -> None:  # noqa: ARG002
        """Refuse.

        Raises:
            InputError: always.
        """
        raise InputError("this trainer cannot export models; write its method export")

    def evaluate(self, config: Any, package: Path, out: Path) -> Scores:  # noqa: ARG002
        """Refuse.

        Raises:
            InputError: always.
        """
        raise InputError("this trainer cannot score exported models; write its method evaluate")

    def usage(self, config: Any, model: str) -> Sequence[str]:  # noqa: ARG002
        """Refuse.

        Raises:
            InputError: always.
        """
        raise InputError("this trainer does not say how to use a model; write its method usage")


class EpochTrainer(BaseTrainer):
    """A trainer of which you write one epoch; checkpoints and continuing are given.

    Before `setup` and before each epoch, the generators of `random`, NumPy and torch are seeded
    from the configuration's seed and the number of the epoch. So a training that continues from a
    checkpoint has the same random numbers as an uninterrupted one, and no generator is saved. On a
    CPU the results are then equal bit for bit if all that changes from epoch to epoch is saved.
    """

    @abstractmethod
    def setup(self, config: Any) -> Any:
        """Return the state before the first epoch: the model, the optimizer, the data.

        Import the libraries that you use here, and not later, so that they are seeded. Where this
        imports NumPy or torch for the first time in a process, it is called once more.
        """

    @abstractmethod
    def train_epoch(self, config: Any, state: Any, epoch: int) -> Mapping[str, float]:
        """Train one epoch, which changes `state`; return its metrics, as `group/name`.

        Args:
            config: the configuration of the trial.
            state: what `setup` returned, after the epochs before.
            epoch: the number of the epoch, counted from 1.
        """

    @abstractmethod
    def save(self, state: Any, file: BinaryIO) -> None:
        """Write all of `state` that changes from epoch to epoch into an open file."""

    @abstractmethod
    def load(self, state: Any, file: BinaryIO) -> None:
        """Read what `save` wrote into `state`, which `setup` has just made."""

    def load_checkpoint(self, config: Any, path: Path) -> Any:
        """Return the state in a checkpoint such as the `best.pt` of a trial.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedCheckpointError: it is not a complete checkpoint.
        """
        return self._restore(config, read_checkpoint(path), threads=None)

    def fit(
        self,
        config: Any,
        folder: Path,
        *,
        continue_from: Sequence[Path],
        threads: int,
        should_stop: Callable[[], bool],
        objective: Objective,
        accumulation_steps: int,  # noqa: ARG002 (`max_accumulation_steps` is 1)
    ) -> Iterator[FinishedEpoch]:
        """Train, and yield each epoch once its checkpoint is on disk."""
        found = find_checkpoint([folder, *continue_from])
        checkpoint = None if found is None else found.checkpoint
        if found is not None:
            adopt_checkpoint(found, folder)
            yield found.checkpoint.row
            if _is_finished(found.checkpoint.row, self.epochs(config)):
                return
        state = self._restore(config, checkpoint, threads)
        for trained in self._train(config, state, checkpoint, objective, should_stop):
            write_checkpoint(trained, folder)
            yield trained.row

    def _train(
        self,
        config: Any,
        state: Any,
        done: Checkpoint | None,
        objective: Objective,
        should_stop: Callable[[], bool],
    ) -> Iterator[Checkpoint]:
        """Yield a checkpoint of each epoch after `done`, until one diverges."""
        best = None if done is None else done.best
        started, first = time.perf_counter(), 1 if done is None else done.row.epoch + 1
        for epoch in range(first, self.epochs(config) + 1):
            if should_stop():
                return
            metrics = self._metrics(config, state, epoch)
            saved, ended = self._saved(state), time.perf_counter()
            row = _row(epoch, metrics, objective, ended - started)
            started, best = ended, _better(best, row, objective)
            yield Checkpoint(row, best, saved)
            if row.diverged:
                return

    def _restore(self, config: Any, checkpoint: Checkpoint | None, threads: int | None) -> Any:
        state = self._set_up(config, threads)
        if checkpoint is not None:
            self.load(state, io.BytesIO(checkpoint.state))
        return state

    def _set_up(self, config: Any, threads: int | None) -> Any:
        before = imported_libraries()
        _set_threads(threads)
        with seeded(self._seed(config), 0):
            state = self.setup(config)
        if imported_libraries() == before:
            return state
        del state  # before the second one is made: it may be large
        _set_threads(threads)  # `setup` may have imported torch
        with seeded(self._seed(config), 0):
            return self.setup(config)

    def _metrics(self, config: Any, state: Any, epoch: int) -> dict[str, float]:
        before = imported_libraries()
        with seeded(self._seed(config), epoch):
            metrics = self.train_epoch(config, state, epoch)
        if late := sorted(imported_libraries() - before):
            raise RuntimeError(
                f"train_epoch has imported {' and '.join(late)}, whose random numbers were not "
                "seeded then; import it in setup"
            )
        return {name: float(value) for name, value in metrics.items()}

    def _saved(self, state: Any) -> bytes:
        buffer = io.BytesIO()
        self.save(state, buffer)
        return buffer.getvalue()

    def _seed(self, config: Any) -> int:
        return int(operator.attrgetter(self.seed)(config))


def missing_for_promotion(trainer: Trainer) -> list[str]:
    """Return the members that a promotion needs and that are only the defaults of `BaseTrainer`."""
    if not isinstance(trainer, BaseTrainer):
        return []
    return [name for name in FOR_PROMOTION if _is_default(trainer, name)]


def _is_default(trainer: BaseTrainer, name: str) -> bool:
    return getattr(type(trainer), name) is getattr(BaseTrainer, name)


def _row(
    epoch: int, metrics: Mapping[str, float], objective: Objective, seconds: float
) -> FinishedEpoch:
    """Return the row of an epoch; its seconds include the writing of the checkpoint before."""
    value = metrics.get(objective.metric, math.nan)
    diverged = None if math.isfinite(value) else f"{objective.metric} is {value}"
    finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
    return FinishedEpoch(epoch, finite, time.time_ns() // 1_000_000, seconds, diverged)


def _is_finished(row: FinishedEpoch, epochs: int) -> bool:
    return row.diverged is not None or row.epoch >= epochs


def _better(best: BestEpoch | None, row: FinishedEpoch, objective: Objective) -> BestEpoch | None:
    """Return the better of the best epoch so far and a new one; of equal ones the earlier."""
    if row.diverged:
        return best
    value = row.metrics[objective.metric]
    sign = 1 if objective.maximize else -1
    if best is not None and sign * value <= sign * best.value:
        return best
    return BestEpoch(row.epoch, value)


def _set_threads(threads: int | None) -> None:
    # NumPy's libraries read their number of threads when a worker starts.
    if threads is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


if TYPE_CHECKING:

    def _is_a_trainer(trainer: BaseTrainer) -> Trainer:
        return trainer
