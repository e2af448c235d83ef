"""Dividing patients among the three splits."""

import math
from collections.abc import Sequence

import numpy as np

from vqvae.data.layout import SPLITS, SplitName
from vqvae.errors import InputError


def divide(patients: Sequence[str], shares: str, seed: int) -> dict[str, SplitName]:
    """Assign every patient to a split at random.

    Args:
        patients: their names.
        shares: for train, validate and test, separated by commas: three fractions that sum to 1, or
            three counts that sum to the number of patients. Every split gets at least one patient.
        seed: of the random assignment.

    Returns:
        The split of each patient.

    Raises:
        InputError: there are fewer than three patients, or `shares` is not valid.
    """
    if len(patients) < len(SPLITS):
        raise InputError(
            f"{len(patients)} patients ({', '.join(patients)}) are too few for three splits; give "
            "the scans of at least three patients, or another --patient"
        )
    counts = _counts(shares, len(patients))
    order = np.random.default_rng(seed).permutation(sorted(patients))
    owners = [split for split, count in zip(SPLITS, counts, strict=True) for _ in range(count)]
    return dict(sorted(zip(map(str, order), owners, strict=True)))


def _counts(shares: str, patients: int) -> list[int]:
    try:
        values = [float(share) for share in shares.split(",")]
    except ValueError:
        values = []
    if len(values) != len(SPLITS) or not all(0 < value < math.inf for value in values):
        raise InputError(
            f"--split {shares!r}: write three shares, as fractions (0.7,0.15,0.15) or as counts of "
            "patients (20,4,3)"
        )
    if all(value >= 1 for value in values):
        if sum(values) != patients or any(value != int(value) for value in values):
            raise InputError(f"--split {shares!r}: the counts must sum to the {patients} patients")
        return [int(value) for value in values]
    if abs(sum(values) - 1) > 1e-6:
        raise InputError(f"--split {shares!r}: the fractions must sum to 1")
    # One patient for each split; each further one for the split that is furthest below its share.
    counts = [1] * len(SPLITS)
    for _ in range(patients - len(SPLITS)):
        missing = [value * patients - count for value, count in zip(values, counts, strict=True)]
        counts[missing.index(max(missing))] += 1
    return counts
