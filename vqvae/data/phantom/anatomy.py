"""Whose pelvis it is: what differs between synthetic patients and between their visits.

Millimetres throughout. x runs from the patient's right to the left, y from back to front, z from
feet to head; the middle of the prostate is near the origin.
"""

import math
from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = -58.0, 78.0  # the levels of the first and the last slice


@dataclass(frozen=True)
class Patient:
    """What stays the same from week to week."""

    half_width: float
    half_depth: float
    fat: float  # thickness under the skin
    size: float  # of the skeleton, 1 on average
    spread: float  # of the hips, 1 on average
    prostate: tuple[float, float, float]
    zone: float  # the transition zone's share of the prostate
    muscle: float  # intensity
    marrow: float
    lean: float  # how far the whole lies to one side
    nodules: float  # how uneven the prostate is


@dataclass(frozen=True)
class Visit:
    """What changes from week to week."""

    bladder: float  # filling: radius in mm
    rectum: float  # radius in mm
    gas: float  # share of the rectum filled with gas
    shift: tuple[float, float, float]
    turn: float  # degrees
    bias: tuple[float, float, float, float]
    noise: float  # standard deviation in each of the two channels
    gain: float  # intensity on disk of a value of 1


def sample_patient(random: np.random.Generator) -> Patient:
    """A new patient."""
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
    """A new visit."""
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
    """The level of each slice: the same stretch of body however many slices cut it."""
    step = (HIGHEST - LOWEST) / slices
    return [LOWEST + step * (number + 0.5) for number in range(slices)]


def ball(radius: float, height: float, z: float) -> float:
    """The relative radius of an ellipsoid's cut at `z` above its centre; 0 beyond its poles."""
    return radius * math.sqrt(max(0.0, 1 - (z / height) ** 2))


def fades(z: float, low: float, high: float, over: float = 8) -> float:
    """1 between two levels, falling to 0 within `over` millimetres beyond them."""
    return min(max(min(z - low, high - z) / over + 1, 0.0), 1.0)
