"""Seeding the generators of random numbers that a training may use."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

_LIBRARIES = ("numpy", "torch")
"""Libraries with a global generator; a sweep itself imports none of them."""


@contextmanager
def seeded(seed: int, epoch: int) -> Iterator[None]:
    """Seed `random`, NumPy and torch, as far as they are imported, for the block.

    The generator of `random` gets its own state back, because workers wait for random times.

    Args:
        seed: the seed of the training.
        epoch: the number of the epoch; 0 for what comes before the first.
    """
    before = random.getstate()
    _seed(int.from_bytes(sha256(f"{seed} {epoch}".encode()).digest()[:4]))
    try:
        yield
    finally:
        random.setstate(before)


def imported_libraries() -> set[str]:
    """Return the libraries that are imported; one that is not yet cannot be seeded."""
    return {name for name in _LIBRARIES if name in sys.modules}


def _seed(number: int) -> None:
    random.seed(number)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(number)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)
