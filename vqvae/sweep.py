"""What a sweep needs of this package. Importing it is light: torch comes when work begins."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from vqvae.config import Config
from vqvae.errors import InputError

if TYPE_CHECKING:
    from vqvae.device import ErrorKind
    from vqvae.evaluation.test_split import SplitScores
    from vqvae.training.checkpoint import Epoch

_FIGURE_SLICES = 6
_WORST_LOSS = 1e9
"""A finite end for what has none: a model that answers with the mean has about 1."""


class Trainer:
    """The VQ-VAE, as something that can be searched over."""

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
        """Make the data if a configuration asks for that, and see that each can work on it.

        Returns:
            The data's fingerprint; several, joined, if the data are searched over.

        Raises:
            InputError: the data are not there or not sound, or a batch is larger than the
                training set.
        """
        from vqvae.data.splits import (  # noqa: PLC0415 - numpy is not light
            ensure,
            inspect,
            open_split,
        )

        fingerprints: dict[str, None] = {}
        for data in dict.fromkeys(config.data for config in configs):
            ensure(data)
            inventory = inspect(data)
            fingerprints[inventory.fingerprint] = None
            readable = inventory.slices["train"]
            if data.on_bad_slice == "skip":
                # Names alone do not tell which will be left out; opening says so, too.
                readable = len(open_split(data, "train"))
            largest = max(c.training.batch_size for c in configs if c.data == data)
            if largest > readable:
                raise InputError(
                    f"training.batch_size = {largest} is more than the "
                    f"{readable} training slices in {data.root}"
                )
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
        metric: str,
        maximize: bool,
        accumulation_steps: int,
    ) -> "Iterator[Epoch]":
        """Train; see `vqvae.training.fit`."""
        from vqvae.training.loop import fit  # noqa: PLC0415 - torch is not light

        return fit(
            config,
            folder,
            continue_from=continue_from,
            threads=threads,
            should_stop=should_stop,
            metric=metric,
            maximize=maximize,
            accumulation_steps=accumulation_steps,
        )

    def max_accumulation_steps(self, config: Config) -> int:
        """The power of two from which on each part of a batch is one image."""
        return int(1 << (config.training.batch_size - 1).bit_length())

    def classify_error(self, error: Exception) -> "ErrorKind":
        """What an exception of `fit` says; see `vqvae.device.kind_of`."""
        from vqvae.device import classify_error  # noqa: PLC0415

        return classify_error(error)

    def write_figure(self, config: Config, folder: Path, figure: Path) -> None:
        """Write a PNG of validation slices over their reconstructions by the best model."""
        from vqvae.data.splits import open_split  # noqa: PLC0415
        from vqvae.evaluation.figures import write_comparison  # noqa: PLC0415
        from vqvae.inference.reconstruct import compare  # noqa: PLC0415
        from vqvae.training.checkpoint import load_model  # noqa: PLC0415

        model, checkpoint = load_model(folder)
        pairs = compare(model, open_split(config.data, "validate"), _FIGURE_SLICES)
        heading = f"epoch {checkpoint.row.epoch}, val/ssim {checkpoint.row.metrics['val/ssim']:.4f}"
        write_comparison(figure, pairs, heading)

    def export(self, config: Config, folder: Path, destination: Path) -> None:
        """Write the package of the best model in `folder`; see `vqvae.export`.

        Args:
            config: the trial's.
            folder: where its `best.pt` is.
            destination: a folder that is not there yet; it appears whole or not at all.

        Raises:
            InputError: there is no model, `destination` is taken or cannot be written, or the
                programs do not do what the model does.
        """
        from vqvae.export.write import write_package  # noqa: PLC0415
        from vqvae.training.checkpoint import load_model  # noqa: PLC0415

        model, _ = load_model(folder)
        write_package(model, destination, data=config.data.root.resolve().name)

    def evaluate(self, config: Config, package: Path, out: Path) -> "SplitScores":
        """Score a package on the test split, with pictures and a table in the folder `out`.

        Returns:
            See `vqvae.assessment.Assessment`.

        Raises:
            InputError: the package or the data cannot be read.
        """
        from vqvae.evaluation.test_split import score_test_split  # noqa: PLC0415

        return score_test_split(config, package, out)

    def usage(self, config: Config, model: str) -> Sequence[str]:
        """The command that reconstructs the test slices with a registered model."""
        from vqvae.data.layout import find_base, split_folder  # noqa: PLC0415

        scans = split_folder(find_base(config.data.root), "test")
        return ["vqvae", "reconstruct", "--model", model, "--out", "reconstructed", str(scans)]


trainer = Trainer()
