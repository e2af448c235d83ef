"""What a sweep needs of this package. Importing it is light: torch comes when work begins."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from vqvae.config import Config, DataConfig
from vqvae.errors import InputError

if TYPE_CHECKING:
    from vqvae.evaluation.test_split import SplitScores
    from vqvae.training.checkpoint import Epoch
    from vqvae.training.failures import ErrorKind

_FIGURE_SLICES = 6
_WORST_LOSS = 1e9
"""A finite end for what has none: a model that answers with the mean has about 1."""


class Objective(Protocol):
    """What a sweep optimizes; see `vqvae.training.checkpoint.Objective`."""

    @property
    def metric(self) -> str:
        """One of an epoch's metrics."""

    @property
    def maximize(self) -> bool:
        """Whether the highest is the best, or the lowest."""


class Trainer:
    """The VQ-VAE, as something that can be searched over."""

    # Each method imports what it works with: torch and numpy would make importing this module,
    # which every command of a sweep does, take seconds.

    config: type[BaseModel] = Config
    bounds: Mapping[str, tuple[float, float]] = {
        "val/ssim": (-1.0, 1.0),
        "val/psnr": (0.0, 100.0),
        "val/loss": (_WORST_LOSS, 0.0),
        "val/reconstruction_loss": (_WORST_LOSS, 0.0),
    }
    """The worst and the best value of each metric that can be optimized, in this order."""
    test_metrics: Collection[str] = ("val/ssim", "val/psnr")
    """Those that the test split is scored by, too."""
    seed = "training.seed"
    """Where in the configuration the seed stands: what two trainings of one setting differ in."""
    floors: Mapping[str, float] = {"test/ssim": 0.6, "test/codebook_usage": 0.1}
    """What a model must reach on the test split before it may be promoted. The SSIM is the first
    report's threshold; a model that uses a tenth of its codes pays for bits it does not need."""

    def prepare(self, configs: Sequence[Config]) -> str:
        """Make the data if a configuration asks for that, and check that each can work on it.

        Returns:
            The data's fingerprint; several, joined, if the data are searched over.

        Raises:
            InputError: the data are not there or not sound, or a batch is larger than the
                training set.
        """
        fingerprints: dict[str, None] = {}
        for data in dict.fromkeys(config.data for config in configs):
            largest = max(c.training.batch_size for c in configs if c.data == data)
            fingerprints[_prepare_data(data, largest)] = None
        return "+".join(fingerprints)

    def epochs(self, config: Config) -> int:
        """How many epochs an uninterrupted trial has."""
        return config.training.epochs

    def fit(
        self,
        config: Config,
        folder: Path,
        *,
        continue_from: Sequence[Path],
        threads: int,
        should_stop: Callable[[], bool],
        objective: Objective,
        accumulation_steps: int,
    ) -> "Iterator[Epoch]":
        """Train; see `vqvae.training.loop.fit`."""
        from vqvae.training import checkpoint
        from vqvae.training.loop import fit

        return fit(
            config,
            folder,
            continue_from=continue_from,
            threads=threads,
            should_stop=should_stop,
            objective=checkpoint.Objective(objective.metric, objective.maximize),
            accumulation_steps=accumulation_steps,
        )

    def max_accumulation_steps(self, config: Config) -> int:
        """The power of two from which on each micro-batch is one image."""
        return int(1 << (config.training.batch_size - 1).bit_length())

    def classify_error(self, error: Exception) -> "ErrorKind":
        """What an exception of `fit` says; see `vqvae.training.failures`."""
        from vqvae.training.failures import classify_error

        return classify_error(error)

    def write_figure(self, config: Config, folder: Path, figure: Path) -> None:
        """Write a PNG of validation slices over their reconstructions by the best model."""
        from vqvae.data.splits import open_split
        from vqvae.evaluation.comparison import compare
        from vqvae.evaluation.figures import write_comparison
        from vqvae.training.checkpoint import load_model

        model, checkpoint = load_model(folder)
        pairs = compare(model, open_split(config.data, "validate"), _FIGURE_SLICES)
        heading = f"epoch {checkpoint.row.epoch}, val/ssim {checkpoint.row.metrics['val/ssim']:.4f}"
        write_comparison(figure, pairs, heading)

    def export(self, config: Config, folder: Path, destination: Path) -> None:
        """Write the package of the best model in `folder`; see `vqvae.export.write`.

        Args:
            config: the trial's.
            folder: where its `best.pt` is.
            destination: a folder that is not there yet; it appears whole or not at all.

        Raises:
            InputError: there is no model, `destination` is taken or cannot be written, or the
                programs do not do what the model does.
        """
        from vqvae.export.write import write_package
        from vqvae.training.checkpoint import load_model

        model, _ = load_model(folder)
        write_package(model, destination, data=config.data.root.resolve().name)

    def evaluate(self, config: Config, package: Path, out: Path) -> "SplitScores":
        """Score a package on the test split, with a figure and a table in the folder `out`.

        Raises:
            InputError: the package or the data cannot be read.
        """
        from vqvae.evaluation.test_split import score_test_split

        return score_test_split(config, package, out)

    def usage(self, config: Config, model: str) -> Sequence[str]:
        """The command that reconstructs the test slices with a registered model."""
        from vqvae.data.layout import find_base, split_folder

        scans = split_folder(find_base(config.data.root), "test")
        return ["vqvae", "reconstruct", "--model", model, "--out", "reconstructed", str(scans)]


def _prepare_data(data: DataConfig, largest_batch: int) -> str:
    """Make the data if they are to be made, and check them; return their fingerprint.

    Raises:
        InputError: they are not there or not sound, or the training set is smaller than a batch.
    """
    from vqvae.data.phantom.dataset import ensure_phantom
    from vqvae.data.splits import inspect, open_split

    ensure_phantom(data)
    inventory = inspect(data)
    readable = inventory.slices["train"]
    if data.on_bad_slice == "skip":
        # Names alone do not tell which will be left out; opening says so, too.
        readable = len(open_split(data, "train"))
    if largest_batch > readable:
        raise InputError(
            f"training.batch_size = {largest_batch} is more than the "
            f"{readable} training slices in {data.root}"
        )
    return inventory.fingerprint


trainer = Trainer()
