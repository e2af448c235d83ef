"""The trainer that a sweep uses. Importing this module is quick: torch is imported when needed."""

import os
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

_SHOWN = 3
"""A figure shows so many of the best slices, and so many of the worst."""
_WORST_LOSS = 1e9
"""The worst value that is reported for a loss, which has no upper bound of its own; predicting the
mean of the training images costs about 1 or 2."""


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
    main_metrics: Sequence[str] = ("val/ssim", "val/perplexity")
    """The metrics of an epoch that are shown first."""
    charts: Mapping[str, Sequence[str]] = {
        "SSIM": ("val/ssim",),
        "Total loss": ("train/loss", "val/loss"),
        "Reconstruction loss": ("train/reconstruction_loss", "val/reconstruction_loss"),
        "Codebook loss": ("train/codebook_loss",),
        "Commitment loss": ("train/commitment_loss",),
        "Perplexity": ("train/perplexity", "val/perplexity"),
        "PSNR (dB)": ("val/psnr",),
        "Codebook usage": ("val/codebook_usage",),
    }
    """The metrics that share a chart of a sweep's report."""
    methods = (
        "A VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937) was trained to reconstruct 2-D "
        "slices, each scaled to [0, 1] by its minimum and its 99.9th percentile. val/ssim is the "
        "structural similarity (Wang et al. 2004), averaged over all validation slices at their "
        "native size, with a Gaussian window of 11 pixels (sigma 1.5) and data range 1. Perplexity "
        "is the exponential of the entropy of the codes of a whole split."
    )
    """What a report says of the model and its metrics."""
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
        for data, largest in _largest_batches(configs).items():
            fingerprints[_prepare_data(data, largest)] = None
        return "+".join(fingerprints)

    def check_data(self, configs: Sequence[Config]) -> str:
        """Check the data without writing any; see `vqvae.data.readiness`.

        Returns:
            What was found, or which synthetic data will be written.

        Raises:
            InputError: the data are missing or not valid, a folder cannot be written, or a batch is
                larger than the training split.
        """
        from vqvae.data.readiness import check_data

        return "; ".join(check_data(*pair) for pair in _largest_batches(configs).items())

    def check_device(self, configs: Sequence[Config], *, gpu: bool) -> str:
        """Check that torch finds a CUDA device on this host, if one is needed.

        Args:
            configs: the configurations to train.
            gpu: whether each job is to have a GPU; then `auto` needs one, too.

        Raises:
            InputError: there is none.
        """
        devices = {config.training.device for config in configs}
        if devices == {"cpu"}:
            return "the CPU (training.device = 'cpu')"
        if "cuda" not in devices and not gpu:
            return "a GPU if torch finds one, otherwise the CPU"
        from vqvae.device import choose_device, device_name

        try:
            return device_name(choose_device("cuda"))
        except InputError as error:
            if "cuda" in devices:
                raise InputError(f"training.{error}") from error
            raise InputError(
                "each job is to have a GPU (gpus = 1 in the cluster file), but torch finds no CUDA "
                "device on this host; use a host with a GPU, or set gpus = 0"
            ) from error

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
        """Train; see `vqvae.training.loop.fit`.

        The folder that a sweep names in SWEEP_SCRATCH may get a copy of the decoded slices.
        """
        from vqvae.training import checkpoint
        from vqvae.training.loop import fit

        scratch = os.environ.get("SWEEP_SCRATCH")
        return fit(
            config,
            folder,
            continue_from=continue_from,
            threads=threads,
            should_stop=should_stop,
            objective=checkpoint.Objective(objective.metric, objective.maximize),
            accumulation_steps=accumulation_steps,
            scratch=Path(scratch) if scratch else None,
        )

    def max_accumulation_steps(self, config: Config) -> int:
        """The smallest power of two that makes each micro-batch one image."""
        return int(1 << (config.training.batch_size - 1).bit_length())

    def classify_error(self, error: Exception) -> "ErrorKind":
        """What an exception of `fit` means; see `vqvae.training.error_kinds`."""
        from vqvae.training.error_kinds import classify_error

        return classify_error(error)

    def write_figure(self, config: Config, folder: Path, figure: Path) -> None:
        """Write a PNG: the best and the worst validation slices of the best model.

        Slices are ordered by SSIM; see `vqvae.evaluation.comparison.best_and_worst`. The preview
        beside it shows one slice, the same in every trial, so that trials can be compared by it.
        """
        from vqvae.data.splits import open_split
        from vqvae.device import choose_device
        from vqvae.evaluation.comparison import best_and_worst, middle_slice, pairs_at
        from vqvae.evaluation.figures import write_comparison, write_preview
        from vqvae.training.checkpoint import load_model

        model, checkpoint = load_model(folder)
        split = open_split(config.data, "validate")
        # On the training's device: a thousand slices of 256 x 128 take half a minute on two cores.
        model.to(choose_device(config.training.device))
        (pair,) = pairs_at(model, split, [middle_slice(split)])
        write_preview(figure.with_name("preview.png"), pair)
        pairs, scored = best_and_worst(model, split, _SHOWN)
        of = f"{scored}" if scored == len(split) else f"{scored} of {len(split)}"
        row = checkpoint.row
        heading = f"epoch {row.epoch}, val/ssim {row.metrics['val/ssim']:.4f}; "
        write_comparison(figure, pairs, f"{heading}the best and the worst of {of} slices, by SSIM")

    def export(self, config: Config, folder: Path, destination: Path) -> None:
        """Write the package of the best model in `folder`, with the statistics of its codes.

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
        from vqvae.training.code_statistics import with_statistics

        model, _ = load_model(folder)
        model = with_statistics(config, model)
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


def _largest_batches(configs: Sequence[Config]) -> dict[DataConfig, int]:
    """The data sets of the configurations, each with the largest batch size that is used on it."""
    largest: dict[DataConfig, int] = {}
    for config in configs:
        largest[config.data] = max(largest.get(config.data, 0), config.training.batch_size)
    return largest


def _prepare_data(data: DataConfig, largest_batch: int) -> str:
    """Write the phantom if the configuration has one, check the data, return their fingerprint.

    Raises:
        InputError: the data are missing or not valid, or a batch is larger than the training split.
    """
    from vqvae.data.phantom.dataset import ensure_phantom
    from vqvae.data.readiness import check_data, refuse_large_batch
    from vqvae.data.splits import inspect, open_split

    ensure_phantom(data)
    check_data(data, largest_batch)
    if data.on_bad_slice == "skip":
        # Only decoding shows which slices will be left out; `open_split` also logs them.
        refuse_large_batch(largest_batch, len(open_split(data, "train")), data.root)
    return inspect(data).fingerprint


trainer = Trainer()
