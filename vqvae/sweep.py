"""The trainer that a sweep uses. Importing this module is quick: torch is imported when needed."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from vqvae.config import Config, DataConfig
from vqvae.errors import InputError

if TYPE_CHECKING:
    from vqvae.evaluation.score_test_split import SplitScores
    from vqvae.training.checkpoint import Epoch
    from vqvae.training.error_kinds import ErrorKind

_FIGURE_SLICES = 6
_WORST_LOSS = 1e9
"""The worst value that is reported for a loss, which has no upper bound of its own; predicting the
mean of the training images costs about 1."""


class Objective(Protocol):
    """What a sweep optimizes; see `vqvae.training.checkpoint.Objective`."""

    @property
    def metric(self) -> str:
        """One of an epoch's metrics."""

    @property
    def maximize(self) -> bool:
        """Whether a higher value is better; else a lower one is."""


class Trainer:
    """The VQ-VAE as a trainer of a sweep; it implements `sweeps.trainer.Trainer`."""

    # Each method imports the modules that it needs. Every command of a sweep imports this module,
    # and importing torch and numpy takes seconds.

    config: type[BaseModel] = Config
    bounds: Mapping[str, tuple[float, float]] = {
        "val/ssim": (-1.0, 1.0),
        "val/psnr": (0.0, 100.0),
        "val/loss": (_WORST_LOSS, 0.0),
        "val/reconstruction_loss": (_WORST_LOSS, 0.0),
    }
    """The metrics that can be optimized, each with its worst and its best value, in this order."""
    test_metrics: Collection[str] = ("val/ssim", "val/psnr")
    """The metrics of these that are also computed on the test split, as `test/…`."""
    seed = "training.seed"
    """The configuration key of the seed: trainings that confirm a candidate differ in it alone."""
    floors: Mapping[str, float] = {"test/ssim": 0.6, "test/codebook_usage": 0.1}
    """The values that a model must reach on the test split before it may be promoted. The SSIM is
    the first report's threshold. A model that uses a tenth of its codes or less spends bits on
    codes that it does not use."""

    def prepare(self, configs: Sequence[Config]) -> str:
        """Write the data if a configuration asks for it, and check that all can train on them.

        Returns:
            The fingerprint of the data; if the search space has several data sets, those of all,
            joined by `+`.

        Raises:
            InputError: the data are missing or not valid, a segmentation has another size than its
                slice, or a batch is larger than the training split.
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
        """The smallest power of two that makes each micro-batch one image."""
        return int(1 << (config.training.batch_size - 1).bit_length())

    def classify_error(self, error: Exception) -> "ErrorKind":
        """What an exception of `fit` means; see `vqvae.training.error_kinds`."""
        from vqvae.training.error_kinds import classify_error

        return classify_error(error)

    def write_figure(self, config: Config, folder: Path, figure: Path) -> None:
        """Write a PNG: validation slices, their reconstructions by the best model, differences."""
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
            config: the trial's configuration.
            folder: the folder of its `best.pt`.
            destination: a folder that does not exist yet; it is written atomically.

        Raises:
            InputError: there is no model, `destination` exists or cannot be written, or the
                exported programs do not agree with the model.
        """
        from vqvae.export.write import write_package
        from vqvae.training.checkpoint import load_model

        model, _ = load_model(folder)
        write_package(model, destination, data=config.data.root.resolve().name)

    def evaluate(self, config: Config, package: Path, out: Path) -> "SplitScores":
        """Score a package on the test split; write a figure and a table into the folder `out`.

        Raises:
            InputError: the package or the data cannot be read.
        """
        from vqvae.evaluation.score_test_split import score_test_split

        return score_test_split(config, package, out)

    def usage(self, config: Config, model: str) -> Sequence[str]:
        """The command that reconstructs the test slices with a registered model."""
        from vqvae.data.layout import find_base, split_folder

        scans = split_folder(find_base(config.data.root), "test")
        return ["vqvae", "reconstruct", "--model", model, "--out", "reconstructed", str(scans)]


def _prepare_data(data: DataConfig, largest_batch: int) -> str:
    """Write the phantom if the configuration has one, check the data, return their fingerprint.

    Raises:
        InputError: the data are missing or not valid, or a batch is larger than the training split.
    """
    from vqvae.data.layout import find_base, list_splits
    from vqvae.data.phantom.dataset import ensure_phantom
    from vqvae.data.segmentations import check_label_sizes
    from vqvae.data.splits import inspect, open_split

    ensure_phantom(data)
    inventory = inspect(data)
    # Only a promotion reads the test split's segmentations, after days of training.
    check_label_sizes(find_base(data.root), "test", list_splits(data.root)["test"])
    readable = inventory.slices["train"]
    if data.on_bad_slice == "skip":
        # Only decoding shows which slices will be left out; `open_split` also logs them.
        readable = len(open_split(data, "train"))
    if largest_batch > readable:
        raise InputError(
            f"training.batch_size = {largest_batch} is more than the "
            f"{readable} training slices in {data.root}; set a smaller batch size"
        )
    return inventory.fingerprint


trainer = Trainer()
