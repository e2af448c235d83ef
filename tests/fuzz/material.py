"""Material that all inputs share: a trained model, a data set, volumes, a finished sweep."""

import functools
import logging
import shutil
from pathlib import Path

import nibabel
import numpy as np

_CODES: list[Path] = []


def make(folder: Path) -> None:
    """Write all shared material into `folder`."""
    _make_set(folder / "set")
    _make_volumes(folder / "volumes")
    _train(folder)
    _make_codes(folder)
    _make_sweep(folder / "runs")
    _CODES[:] = [folder / "codes" / "scan.nii.vqc"]
    codes.cache_clear()


@functools.cache
def codes() -> bytes:
    """The content of a valid file of codes of the trained model."""
    return _CODES[0].read_bytes()


def image(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, shape).astype(np.int16)


def _save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(pixels, np.diag([1.5, 2.0, 3.0, 1.0])), path)


def _make_set(root: Path) -> None:
    for split, case in {"train": 4, "validate": 36, "test": 40}.items():
        folder = root / "keras_slices_data" / f"keras_slices_{split}"
        for at in range(2):
            _save(folder / f"case_{case:03d}_week_0_slice_{at}.nii.gz", image(case + at, (24, 20)))


def _make_volumes(root: Path) -> None:
    for number in (1, 2, 3):
        _save(root / f"sub-0{number}.nii.gz", image(number, (24, 20, 3)))


def _train(folder: Path) -> None:
    from vqvae.config import Config
    from vqvae.training.loop import fit

    logging.getLogger("torch.__trace").propagate = False
    model = {"width": 4, "residual_blocks": 1, "residual_width": 4, "codebook_size": 16}
    config = Config.model_validate(
        {
            "data": {"root": folder / "set", "cache": folder / "cache"},
            "model": model | {"code_dimension": 4},
            "training": {"epochs": 1, "batch_size": 2, "device": "cpu"},
        }
    )
    list(fit(config, folder / "trained", threads=1))


def _make_codes(folder: Path) -> None:
    from vqvae.cli.main import main

    _save(folder / "scan.nii", image(0, (24, 20)))
    arguments = ["encode", str(folder / "scan.nii"), "--model", str(folder / "trained")]
    try:
        main([*arguments, "--out", str(folder / "codes"), "--device", "cpu"])
    except SystemExit as end:
        if end.code:
            raise RuntimeError("the scan could not be encoded") from end


def _make_sweep(runs: Path) -> None:
    """Run a sweep of the tiny trainer to its end."""
    from sweeps.config.cluster import Cluster
    from sweeps.config.resolve import read_experiment
    from sweeps.search.study import Study
    from sweeps.storage.paths import RunsPaths
    from sweeps.storage.sweep import Plan, create_or_update
    from sweeps.workers.worker import Worker
    from tests.fuzz.toml import EXPERIMENT

    source = runs.parent / "tiny.toml"
    source.write_bytes(EXPERIMENT.replace(b'"small"', b'"tiny"'))
    paths = RunsPaths(runs).sweep("tiny")
    resolved = read_experiment(source)
    plan = Plan(resolved.experiment, Cluster(), "tiny")
    sweep = create_or_update(paths, resolved, source, plan)
    study = Study(paths, sweep.experiment, stale_after=30)
    Worker(sweep, study, job="job", threads=1).run()
    shutil.rmtree(runs / "artifacts", ignore_errors=True)
