"""A trainer by `EpochTrainer`: a walk whose every step is a random number of three generators."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel

from sweeps import BaseTrainer, EpochTrainer, FinishedEpoch


class Config(BaseModel, frozen=True, extra="forbid"):
    epochs: int = 5
    scale: float = 1.0
    seed: int = 0
    lost_at: int = 0
    """The epoch from which on the loss is not finite; 0 for never."""


class RandomWalk(EpochTrainer):
    config = Config
    bounds: Mapping[str, tuple[float, float]] = {"val/loss": (1e9, 0.0)}

    def epochs(self, config: Config) -> int:
        return config.epochs

    def setup(self, config: Config) -> dict[str, Any]:
        import numpy as np

        return {"place": [float(np.random.rand()), random.random()]}

    def train_epoch(self, config: Config, state: Any, epoch: int) -> Mapping[str, float]:
        import numpy as np

        state["place"][0] += config.scale * float(np.random.randn())
        state["place"][1] += config.scale * random.gauss()
        loss = sum(place**2 for place in state["place"])
        lost = 0 < config.lost_at <= epoch
        return {"val/loss": float("nan") if lost else loss, "train/count": np.float32(epoch)}

    def save(self, state: Any, file: BinaryIO) -> None:
        file.write(json.dumps(state).encode())

    def load(self, state: Any, file: BinaryIO) -> None:
        state.update(json.loads(file.read()))


class OwnLoop(BaseTrainer):
    """A trainer with a loop and checkpoints of its own."""

    config = Config
    bounds: Mapping[str, tuple[float, float]] = {"val/loss": (1e9, 0.0)}

    def epochs(self, config: Config) -> int:
        return config.epochs

    def fit(
        self, config: Config, folder: Path, *, should_stop: Callable[[], bool], **_: Any
    ) -> Iterator[FinishedEpoch]:
        for epoch in range(1, config.epochs + 1):
            if should_stop():
                return
            for name in ("last.pt", "best.pt"):
                (folder / name).write_text(str(epoch))
            yield FinishedEpoch(epoch, {"val/loss": config.scale / epoch}, 1000 * epoch, 0.1)


trainer = RandomWalk()
own_loop = OwnLoop()
