"""A trainer that takes milliseconds: it shows that a sweep needs no more than the protocol.

Its model is one number, which approaches a target at a speed that the hyperparameters set. Its
checkpoints are JSON, and it continues exactly from them.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    size: int = 100
    patients: int = 3


class Training(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(0.1, gt=0, le=10)
    batch_size: int = Field(16, ge=1)
    epochs: int = Field(5, ge=1)
    seconds: float = 0.0
    bug: bool = False
    seed: int = 0
    """Its sine changes the speed slightly: another seed gives another result."""
    gate_at: int = 0
    """From this epoch on, wait until a test creates the file `open` in the sweep's folder."""
    memory: int = 0
    """The memory of the device, shared by all workers; 0 for no limit."""
    image: int = 1
    """The memory that one image takes."""
    poison: int = 0
    """How many times the third epoch of a trial raises `DeviceLostError`."""
    hang: int = 0
    """How many times the third epoch of a trial hangs."""
    deadly: int = 0
    """How many times the third epoch of the first trial kills its worker."""
    deadly_figure: bool = False
    """Whether writing the figure kills the worker."""


class DeviceFullError(Exception):
    """The images of all workers do not fit on the device."""


class DeviceLostError(Exception):
    """The process cannot use the device any more."""


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    data: Data = Data()
    training: Training = Training()


@dataclass(frozen=True)
class Row:
    epoch: int
    metrics: Mapping[str, float]
    timestamp: int
    seconds: float
    diverged: str | None


@dataclass(frozen=True)
class Scored:
    scores: Mapping[str, float]
    patients: Mapping[str, Mapping[str, float]]
    intervals: Mapping[str, tuple[float, float]]
    data: Mapping[str, Any]


class Tiny:
    config = Config
    test_metrics = ("val/score",)
    seed = "training.seed"
    floors: Mapping[str, float] = {"test/score": 0.2}
    bounds: Mapping[str, tuple[float, float]] = {"val/score": (-1.0, 1.0), "val/loss": (1e9, 0.0)}

    def prepare(self, configs: Sequence[Config]) -> str:
        for config in configs:
            if config.training.batch_size > config.data.size:
                raise ValueError(f"batch_size {config.training.batch_size} is too large")
        return "tiny"

    def check_data(self, configs: Sequence[Config]) -> str:
        self.prepare(configs)
        return "no files are needed"

    def check_device(self, configs: Sequence[Config], *, gpu: bool) -> str:
        return "the CPU"

    def epochs(self, config: Config) -> int:
        return config.training.epochs

    def fit(
        self,
        config: Config,
        folder: Path,
        *,
        continue_from: Sequence[Path],
        threads: int,
        should_stop: Callable[[], bool],
        objective: Any,
        accumulation_steps: int,
    ) -> Iterator[Row]:
        training, sweep = config.training, folder.parents[4]
        state, row = 1.0, None
        checkpoint = find_checkpoint([folder, *continue_from])
        if checkpoint is not None:
            state, row = checkpoint["state"], Row(**checkpoint["row"])
            save(folder, state, row)
            yield row
        for epoch in range(row.epoch + 1 if row else 1, training.epochs + 1):
            if should_stop():
                return
            inject_failure(training, folder, epoch)
            if 0 < training.gate_at <= epoch:
                (sweep / "waiting").mkdir(exist_ok=True)
                (sweep / "waiting" / folder.parents[2].name).touch()
                while not (sweep / "open").exists():
                    time.sleep(0.01)
            with on_device(sweep, training, accumulation_steps):
                time.sleep(training.seconds)
            speed = training.learning_rate * (0.5 if training.optimizer == "sgd" else 1.0)
            speed *= 1 + 0.01 * math.sin(training.seed)
            state *= 1 - speed / math.sqrt(training.batch_size)
            diverged = "the state left all bounds" if abs(state) > 10 else None
            score = -1.0 if diverged else 1 - min(2.0, abs(state))
            metrics = {"val/score": score, "val/loss": abs(state), "train/steps_per_second": 1.0}
            row = Row(epoch, metrics, time.time_ns() // 1_000_000, training.seconds, diverged)
            log = folder.parent.parent.parent / "computed.log"
            with log.open("a") as file:
                file.write(f"{epoch}\n")
            save(folder, state, row)
            yield row
            if diverged:
                return

    def max_accumulation_steps(self, config: Config) -> int:
        return 1 << (config.training.batch_size - 1).bit_length()

    def classify_error(self, error: Exception) -> str:
        kinds = {DeviceFullError: "out_of_memory", DeviceLostError: "process_lost"}
        return kinds.get(type(error), "bug")

    def write_figure(self, config: Config, folder: Path, figure: Path) -> None:
        if config.training.deadly_figure:
            os.kill(os.getpid(), signal.SIGKILL)
        figure.write_bytes(b"\x89PNG\r\n\x1a\n")

    def export(self, config: Config, folder: Path, destination: Path) -> None:
        draft = destination.with_name(f".{destination.name}.{os.getpid()}")
        draft.mkdir()
        shutil.copy(folder / "best.pt", draft / "model.pt2")
        digest = hashlib.sha256((draft / "model.pt2").read_bytes()).hexdigest()
        tensor = {"shape": [-1, 1, -1, -1], "dtype": "float32"}
        manifest = {
            "programs": {"model.pt2": digest},
            "input": tensor,
            "output": tensor,
            "requirements": ["torch==2.13.0"],
            "about": "One number.",
            "use": "Look at it.",
        }
        (draft / "package.json").write_text(json.dumps(manifest))
        draft.rename(destination)

    def evaluate(self, config: Config, package: Path, out: Path) -> Scored:
        content = (package / "model.pt2").read_bytes()
        manifest = json.loads((package / "package.json").read_text())
        if hashlib.sha256(content).hexdigest() != manifest["programs"]["model.pt2"]:
            raise ValueError(f"{package}: model.pt2 is damaged")
        (out / "worst.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        score = 1 - min(2.0, abs(json.loads(content)["state"]))
        patients = {
            f"case_{at:03d}": {"test/score": score + at / 100} for at in range(config.data.patients)
        }
        mean = statistics.fmean(scores["test/score"] for scores in patients.values())
        return Scored({"test/score": mean}, patients, {}, data_of(config))

    def usage(self, config: Config, model: str) -> Sequence[str]:
        return ["tiny", "use", model]


def data_of(config: Config) -> dict[str, Any]:
    profile = {"slices": 10, "patients": config.data.patients}
    return {"name": "tiny", "digest": "0123456789abcdef", "source": "nowhere", "profile": profile}


def inject_failure(training: Training, folder: Path, epoch: int) -> None:
    """Fail in the way that the configuration asks for in this epoch, if it does."""
    if training.bug:
        raise RuntimeError("a bug of the trainer's")
    if epoch != 3:
        return
    if is_due(folder, "poisoned", training.poison):
        raise DeviceLostError("device-side assert triggered")
    first = folder.parents[2].name.startswith("0000")
    if first and is_due(folder, "killed", training.deadly):
        os.kill(os.getpid(), signal.SIGKILL)
    while is_due(folder, "hung", training.hang):
        threading.Event().wait()


def is_due(folder: Path, failure: str, times: int) -> bool:
    """Return whether a failure has happened to the trial fewer than `times` times; count it."""
    counter = folder.parent.parent / failure
    before = counter.read_text() if counter.exists() else ""
    if len(before) < times:
        counter.write_text(before + ".")
    return len(before) < times


@contextmanager
def on_device(sweep: Path, training: Training, accumulation_steps: int) -> Iterator[None]:
    """Hold a micro-batch on the device, together with those of other processes."""
    if not training.memory:
        yield
        return
    size = -(-training.batch_size // accumulation_steps) * training.image
    allocation = sweep / f"device-{os.getpid()}-{size}"
    allocation.touch()
    try:
        requested = sum(int(file.name.rpartition("-")[2]) for file in sweep.glob("device-*"))
        if requested > training.memory:
            raise DeviceFullError(f"{requested} of {training.memory} requested")
        yield
    finally:
        allocation.unlink()


def find_checkpoint(folders: Sequence[Path]) -> Any | None:
    """Return the latest checkpoint that is not damaged; None if there is none."""
    for file in (folder / name for folder in folders for name in ("last.pt", "previous.pt")):
        with suppress(FileNotFoundError, json.JSONDecodeError):
            return json.loads(file.read_text())
    return None


def save(folder: Path, state: float, row: Row) -> None:
    content: dict[str, Any] = {"state": state, "row": asdict(row)}
    if (folder / "last.pt").exists():
        (folder / "previous.pt").unlink(missing_ok=True)
        (folder / "previous.pt").hardlink_to(folder / "last.pt")
    for name in ("best.pt", "last.pt"):
        draft = folder / f".{name}.{os.getpid()}"
        draft.write_text(json.dumps(content))
        draft.replace(folder / name)


trainer = Tiny()
