"""The parameters of synthetic patients and visits, and how they are sampled.

Lengths are in millimetres. x runs from the patient's right to the left, y from back to front, z
from feet to head. The centre of the prostate is near the origin. A "level" is a value of z.
Intensities are relative: 0 is air, about 1 the brightest tissue.
"""

import math
from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -58.0, 78.0  # the ends of the imaged part of the body, levels in mm


@dataclass(frozen=True)
class Patient:
    """The parameters of a patient, which are the same at all visits."""

    half_width: float
    """Half the width of the body, skin included, in mm."""
    half_depth: float
    """Half the depth of the body from back to front, skin included, in mm."""
    fat: float
    """The thickness of the fat under the skin, in mm."""
    size: float
    """A scale factor of bones and organs, 1 on average."""
    spread: float
    """A scale factor of the distance of paired structures from the midline, 1 on average."""
    prostate: tuple[float, float, float]
    """The radii of the prostate along x, y and z, in mm."""
    zone: float
    """The radius of the transition zone, as a fraction of that of the prostate."""
    muscle: float
    """The mean intensity of muscle."""
    marrow: float
    """The mean intensity of bone marrow."""
    lean: float
    """How far the body lies from the centre of the image along x, in mm."""
    nodules: float
    """The amplitude of the intensity differences in the transition zone."""


@dataclass(frozen=True)
class Visit:
    """The parameters of a visit: positioning, filling of organs, and the scanner's settings."""

    bladder: float
    """The radius of the bladder, which depends on its filling, in mm."""
    rectum: float
    """The radius of the rectum, in mm."""
    gas: float
    """The share of the rectum that is filled with gas, from the front: 0, 0.6 or 1."""
    shift: tuple[float, float, float]
    """The translation of the patient along x, y and z, in mm."""
    turn: float
    """The rotation of the patient around z, in degrees."""
    bias: tuple[float, float, float, float]
    """The coefficients of the coil sensitivity, the exponential of a polynomial in x and y: of x,
    y, x y and the squares; see `_receive` in `dataset.py`."""
    noise: float
    """The standard deviation of the noise in each of the two channels (real and imaginary)."""
    gain: float
    """The intensity on disk of a value of 1."""


def sample_patient(random: np.random.Generator) -> Patient:
    """Sample the parameters of a patient."""
    size = random.normal(1, 0.045)
    fat = random.uniform(9, 27)
    return Patient(
        half_width=146 * size + fat * 1.25 + random.normal(0, 4),
        half_depth=70 * size + fat * 0.75 + random.normal(0, 3),
        fat=fat,
        size=size,
        spread=random.normal(1, 0.03),
        prostate=(random.uniform(20, 30), random.uniform(14, 22), random.uniform(18, 27)),
        zone=random.uniform(0.55, 0.8),
        muscle=random.uniform(0.15, 0.24),
        marrow=random.uniform(0.42, 0.6),
        lean=random.normal(0, 3),
        nodules=random.uniform(0.1, 0.22),
    )


def sample_visit(random: np.random.Generator) -> Visit:
    """Sample the parameters of a visit."""
    return Visit(
        bladder=random.uniform(20, 38),
        rectum=random.uniform(10, 21),
        gas=float(random.choice([0.0, 0.0, 0.6, 1.0])),
        shift=(random.normal(0, 3), random.normal(0, 2), random.normal(0, 3)),
        turn=random.normal(0, 1.5),
        bias=(
            random.normal(0, 0.12),
            random.normal(0, 0.16),
            random.normal(0, 0.1),
            random.normal(0, 0.1),
        ),
        noise=random.uniform(0.012, 0.03),
        gain=random.uniform(350, 950),
    )


def levels(slices: int) -> list[float]:
    """The level of each slice, in mm: `slices` of them cover the same part of the body."""
    step = (HIGHEST - LOWEST) / slices
    return [LOWEST + step * (number + 0.5) for number in range(slices)]


def ball(radius: float, height: float, z: float) -> float:
    """The radius of an ellipsoid's cross-section at `z` above its centre; 0 beyond its poles.

    Args:
        radius: at the centre, in any unit; the result has the same unit.
        height: half the ellipsoid's height, in mm.
        z: in mm.
    """
    return radius * math.sqrt(max(0.0, 1 - (z / height) ** 2))


def fades(z: float, low: float, high: float, over: float = 8) -> float:
    """A factor that is 1 between the levels `low` and `high`, and 0 from `over` mm beyond them."""
    return min(max(min(z - low, high - z) / over + 1, 0.0), 1.0)
