"""How the best value of a sweep grew with the trials that ended, as a line of blocks."""

from collections.abc import Sequence

from sweeps.config.experiment import Objective
from sweeps.storage.trial_record import State, TrialSnapshot
from sweeps.streams import BARS
from sweeps.text import printable

MOST_BLOCKS = 30


def best_so_far(snapshots: Sequence[TrialSnapshot], objective: Objective) -> list[float]:
    """Return the best value after each trial that ended, from the first complete one on.

    As the best trial is a complete one, a pruned one repeats the value before it.
    """
    ended = [each for each in snapshots if each.result is not None and each.rows]
    best: list[float] = []
    for each in sorted(ended, key=lambda each: each.rows[-1].timestamp):
        value = each.result.value if each.result is not None else None
        if value is not None and each.result is not None and each.result.state is State.COMPLETE:
            better = max if objective.maximize else min
            best.append(better(best[-1], value) if best else value)
        elif best:
            best.append(best[-1])
    return best


def best_line(values: Sequence[float], metric: str) -> list[str]:
    """Return a line with the first best value, the blocks, and the last; nothing of one value.

    Args:
        values: the best value after each trial.
        metric: the objective's name.
    """
    if len(values) < 2:
        return []
    blocks = sparkline(values, MOST_BLOCKS)
    return [printable(f"best {metric}: {values[0]:.4f} {blocks} {values[-1]:.4f}")]


def sparkline(values: Sequence[float], most: int) -> str:
    """Return a block for each value, the lowest value as the lowest block.

    Args:
        values: one or more values.
        most: how many blocks there are at most; of more values, equally distant ones are shown,
            the first and the last among them.
    """
    if len(values) > most:
        values = [values[round(at * (len(values) - 1) / (most - 1))] for at in range(most)]
    blocks, low, high = list(BARS), min(values), max(values)
    step = (high - low) / (len(blocks) - 1)
    return "".join(blocks[round((value - low) / step) if step else 0] for value in values)
