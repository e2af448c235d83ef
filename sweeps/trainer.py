"""The protocol by which a sweep knows a trainer, and the loading of one by its name.

A sweep can search over anything that is trained epoch by epoch. What it asks of a trainer stands
here in full; `vqvae.sweep:trainer` is one, and a second needs one module of its own.
"""

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from pydantic import BaseModel

from sweeps.errors import InputError


class Epoch(Protocol):
    """One finished epoch, as its checkpoint carries it: yielded again, it is equal."""

    @property
    def epoch(self) -> int:
        """Counted from 1."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Figures by name, `group/name`; one that is not a finite number may be left out."""

    @property
    def timestamp(self) -> int:
        """When the epoch ended: milliseconds since 1970."""

    @property
    def seconds(self) -> float:
        """How long the epoch took, validation and checkpoint included."""

    @property
    def diverged(self) -> str | None:
        """Why going on is pointless (a loss that is not a number, say); None while all is well."""


class Scores(Protocol):
    """What a packaged model is worth on the test split."""

    @property
    def scores(self) -> Mapping[str, float]:
        """Figures by name, `test/…`; the one that is optimized as `val/…` is among them."""

    @property
    def patients(self) -> Mapping[str, Mapping[str, float]]:
        """The same for each patient: what one patient's images have in common is no evidence."""

    @property
    def intervals(self) -> Mapping[str, tuple[float, float]]:
        """Where 95 of 100 values lie if other patients had been drawn; where that can be said."""

    @property
    def data(self) -> Mapping[str, Any]:
        """What was scored on: `name`, `digest` (of the content), `source` and a `profile`."""


class Objective(Protocol):
    """By which metric an epoch is the best one."""

    @property
    def metric(self) -> str:
        """One of the trainer's `bounds`."""

    @property
    def maximize(self) -> bool:
        """Whether the highest value is the best, or the lowest."""


class Trainer(Protocol):
    """What can be searched over. Importing its module must be light (no torch)."""

    config: type[BaseModel]
    """The configuration: a frozen pydantic model that refuses unknown keys."""

    bounds: Mapping[str, tuple[float, float]]
    """Metrics that a sweep may optimize, each with its worst and its best value, in this order.

    The first one is optimized where an experiment names none.
    """

    test_metrics: Collection[str]
    """Those of them that `evaluate` measures on the test split, as `test/…`."""

    seed: str
    """The dotted path of the configuration's seed."""

    floors: Mapping[str, float]
    """Test figures that a model must reach before anybody is asked to use it."""

    def prepare(self, configs: Sequence[Any]) -> str:
        """Look at the data before any job; make what the configuration says is to be made.

        Args:
            configs: one for each choice and each bound of the search space.

        Returns:
            The data's fingerprint: equal for equal data, wherever it lies.

        Raises:
            ValueError: a configuration cannot work on this data; the message says why.
        """

    def epochs(self, config: Any) -> int:
        """How many epochs an uninterrupted trial has."""

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
        """Train, an epoch at a time, keeping `last.pt` and `best.pt` in `folder`.

        `best.pt` is the first epoch with the best value of the objective's metric.
        Other files in `folder` are the trainer's own and go when the trial has ended.

        Each epoch's checkpoint, with its row inside, is on disk before the row is yielded. Where
        `folder`, or else one of `continue_from` (earlier attempts', the latest first), holds a
        checkpoint, its row is yielded first and the training goes on from there, to the same end
        bit for bit (CPU, same `threads`). One that is damaged is passed over for the one before
        it; where none is whole, training begins anew. `should_stop` is asked before each epoch
        begins. Each batch is computed in `accumulation_steps` micro-batches whose gradients are
        added up, to the same step but for rounding; earlier epochs may have had another number.
        """

    def max_accumulation_steps(self, config: Any) -> int:
        """The power of two from which on each part of a batch is as small as can be."""

    def classify_error(
        self, error: Exception
    ) -> Literal["out_of_memory", "process_lost", "environment_unavailable", "bug"]:
        """What an exception of `fit` says: want of memory, that this process is lost, or a bug.

        Or that the world failed: data that are away, a file server that does not answer. Errors
        of the operating system always say that, and are not asked about.
        """

    def write_figure(self, config: Any, folder: Path, figure: Path) -> None:
        """Write a PNG that shows what the best model in `folder` does."""

    def export(self, config: Any, folder: Path, destination: Path) -> None:
        """Write the best model in `folder` as a package: programs that run without this code.

        The folder `destination` appears whole or not at all. Its `package.json` names the
        `programs` and their digests; `model.pt2` maps one tensor to one. It also has `input` and
        `output` (`shape` with -1 for any, `dtype`), `example` (a JSON file with one input),
        `requirements` (pinned), and two texts in Markdown: `about` the model and its `use`.

        Raises:
            ValueError: the package does not do what the model does.
        """

    def evaluate(self, config: Any, package: Path, out: Path) -> Scores:
        """Score a package on the test split; pictures and tables go into the folder `out`.

        The same package on the same data is worth the same.

        Raises:
            ValueError: the package is damaged or none, or the data cannot be read.
        """

    def usage(self, config: Any, model: str) -> Sequence[str]:
        """A command that uses a registered model, for a person to type.

        Args:
            config: of the trial that made it; it says what there is to try it on.
            model: its URI, `models:/<name>@<alias>`.
        """


def load_trainer(name: str) -> Trainer:
    """Import a trainer from its name, `module:attribute`.

    Raises:
        InputError: the name has another form, or nothing is there.
    """
    module, separator, attribute = name.partition(":")
    if not separator or not module or not attribute:
        mend = "write module:attribute, as in my_package.my_module:trainer"
        raise InputError(f"trainer {name!r}: {mend}")
    if str(Path.cwd()) not in sys.path:  # a trainer of one's own may lie beside the experiments
        sys.path.append(str(Path.cwd()))
    try:
        trainer = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        mend = f"no module named {error.name!r}; is it installed here?"
        raise InputError(f"trainer {name!r}: {mend}") from error
    except AttributeError as error:
        raise InputError(f"trainer {name!r}: module {module!r} has no {attribute!r}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"trainer {name!r}: cannot be imported: {reason}") from error
    missing = [part for part in _MEMBERS if not hasattr(trainer, part)]
    if missing:
        raise InputError(f"trainer {name!r} is none: it has no {', '.join(missing)}")
    return cast(Trainer, trainer)


_MEMBERS = (
    *("config", "bounds", "test_metrics", "seed", "floors"),
    *("prepare", "epochs", "fit", "max_accumulation_steps", "classify_error"),
    *("write_figure", "export", "evaluate", "usage"),
)
