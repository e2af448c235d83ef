"""Scoring a package on the test split, to decide whether it may be promoted."""

import csv
import hashlib
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vqvae.config import Config
from vqvae.data.layout import find_base, list_splits
from vqvae.data.segmentations import list_labels
from vqvae.data.splits import Split, open_split
from vqvae.device import reproducible
from vqvae.evaluation.comparison import pairs_at
from vqvae.evaluation.evaluate import Evaluation, Row, evaluate
from vqvae.evaluation.figures import write_comparison
from vqvae.export.package import open_package
from vqvae.files import write_whole

FIGURE, TABLE = "worst.png", "slices.csv"
_SHOWN = 6
_THREADS = 2
"""A fixed number, because it decides in which order sums are taken, and so the last bits."""


@dataclass(frozen=True)
class SplitScores:
    """The scores of a package on the test split, and which data it was scored on."""

    scores: Mapping[str, float]
    """`test/ssim` and the others, by name."""
    patients: Mapping[str, Mapping[str, float]]
    """Means over the slices of each patient, by `case_040` and so on."""
    intervals: Mapping[str, tuple[float, float]]
    """The 95 % bootstrap interval over patients of each mean over slices; empty for one patient."""
    data: Mapping[str, Any]
    """The data's `name`, `digest` (of the contents), `source` and `profile` (counts, shapes)."""


def score_test_split(config: Config, package: Path, out: Path) -> SplitScores:
    """Score a package on every slice of the test split; write a figure and a table.

    It computes on the CPU with a fixed number of threads. So the same package and the same data
    give the same scores on the same host, to the last bit.

    Args:
        config: names the data.
        package: the package's folder.
        out: the folder for `worst.png` (the six slices with the lowest SSIM) and `slices.csv` (a
            row for each slice with all its scores).

    Raises:
        InputError: the package or the data cannot be read, or do not fit together.
    """
    codec = open_package(package)
    opened = open_split(config.data, "test")
    with reproducible(_THREADS):
        found = evaluate(codec, config.data, "test")
        order = np.argsort([row.scores["ssim"] for row in found.rows], kind="stable")
        worst = pairs_at(codec, opened, order[:_SHOWN])
    heading = f"the lowest SSIM of {found.slices} test slices"
    write_comparison(out / FIGURE, worst, heading)
    files = _files(config.data.root)
    write_whole(out / TABLE, _table(found.rows, files).encode())
    return SplitScores(
        scores=_named(found.scores),
        patients={f"case_{case:03d}": _named(scores) for case, scores in found.patients.items()},
        intervals={f"test/{name}": (of.low, of.high) for name, of in found.intervals.items()},
        data={
            "name": config.data.root.resolve().name,
            "digest": digest_of(config.data.root),
            "source": str(config.data.root),
            "profile": _profile(found, opened),
        },
    )


def digest_of(root: Path) -> str:
    """Hex SHA-256 of the test split's contents: names and bytes of images and segmentations.

    Raises:
        InputError: a folder or a file cannot be read.
    """
    base = find_base(root)
    paths = [file.path for file in list_splits(root)["test"].files]
    paths += list_labels(base, "test").values()
    lines = sorted(
        f"{path.relative_to(base).as_posix()}\t{hashlib.sha256(path.read_bytes()).hexdigest()}\n"
        for path in paths
        if path.is_file()
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(root: Path) -> dict[str, str]:
    """The path of each test slice below the folder of the splits, by the slice's name."""
    return {file.name.stem(): file.relative for file in list_splits(root)["test"].files}


def _table(rows: tuple[Row, ...], files: Mapping[str, str]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["file", "patient", "week", "slice", *rows[0].scores])
    for row in rows:
        name = row.name
        # A score that the slice does not have (it has no such organ) is an empty cell.
        scores = ["" if math.isnan(value) else value for value in row.scores.values()]
        writer.writerow([files[name.stem()], name.patient, name.week, name.slice, *scores])
    return text.getvalue()


def _profile(found: Evaluation, opened: Split) -> dict[str, Any]:
    return {
        "slices": found.slices,
        "segmented": found.segmented,
        "patients": len(found.patients),
        "shapes": ["x".join(map(str, group.images.shape[1:])) for group in opened.groups],
        "left_out": len(opened.skipped),
    }


def _named(scores: Mapping[str, float]) -> dict[str, float]:
    return {f"test/{name}": value for name, value in scores.items() if math.isfinite(value)}
