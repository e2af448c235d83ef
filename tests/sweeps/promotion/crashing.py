"""A process that runs a promotion and kills itself, as by `kill -9`, before one of its steps.

`python -m tests.sweeps.promotion.crashing STEP FOLDER` promotes the best trial of the confirmed
sweep in FOLDER, and kills itself just before STEP begins.
"""

import os
import signal
import sys
from pathlib import Path

from sweeps.promotion.confirm import best_trials
from sweeps.promotion.pipeline import PromotionRequest, promote
from sweeps.storage.paths import SweepPaths
from sweeps.storage.sweep import open_sweep

STEPS = (
    *("export", "score", "publish", "run", "model", "upload", "version"),
    *("verify", "previous", "champion", "champion set"),
)


def main() -> None:
    fatal, folder = sys.argv[1], Path(sys.argv[2])

    def step(name: str) -> None:
        if name == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    sweep = open_sweep(SweepPaths(folder))
    promote(
        sweep, PromotionRequest(best_trials(sweep), dry_run=False, force="", print_line=print), step
    )


if __name__ == "__main__":
    main()
