"""The base classes for trainers: what they promise, and what they refuse."""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import sweeps
from sweeps.base_trainer import missing_for_promotion
from sweeps.checkpoint import read_checkpoint
from sweeps.cli import main as cli
from sweeps.config.experiment import Objective
from sweeps.config.resolve import read_experiment
from sweeps.errors import InputError
from sweeps.storage.sweep import Sweep
from sweeps.storage.trial_record import best_checkpoint, read_result, read_spec
from sweeps.trainer import FinishedEpoch, load_trainer
from tests.sweeps import random_walk, tiny
from tests.sweeps.conftest import worker_of
from tests.sweeps.random_walk import Config, RandomWalk

LOWEST = Objective(metric="val/loss", direction="minimize")


def epochs_of(
    folder: Path,
    config: Config,
    continue_from: Sequence[Path] = (),
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[FinishedEpoch]:
    folder.mkdir(exist_ok=True)
    return random_walk.trainer.fit(
        config,
        folder,
        continue_from=continue_from,
        threads=1,
        should_stop=should_stop,
        objective=LOWEST,
        accumulation_steps=1,
    )


def values(rows: Sequence[FinishedEpoch]) -> list[tuple[int, float]]:
    return [(row.epoch, row.metrics["val/loss"]) for row in rows]


def state_in(folder: Path, name: str) -> bytes:
    return read_checkpoint(folder / name).state


@pytest.fixture
def whole(tmp_path: Path) -> list[FinishedEpoch]:
    return list(epochs_of(tmp_path / "whole", Config(seed=3)))


@pytest.mark.parametrize("killed_after", range(1, 6))
def test_a_continued_training_equals_an_uninterrupted_one(
    killed_after: int, whole: list[FinishedEpoch], tmp_path: Path
) -> None:
    first = epochs_of(tmp_path / "1", Config(seed=3))
    rows = [next(first) for _ in range(killed_after)]
    random.random()  # another process has other states of the generators
    continued = list(epochs_of(tmp_path / "2", Config(seed=3), [tmp_path / "1"]))
    assert continued[0] == rows[-1]
    assert values(rows + continued[1:]) == values(whole)
    for name in ("last.pt", "best.pt"):
        assert state_in(tmp_path / "2", name) == state_in(tmp_path / "whole", name)


def test_the_checkpoint_of_an_epoch_is_on_disk_before_its_row_is_yielded(tmp_path: Path) -> None:
    lowest = None
    for row in epochs_of(tmp_path / "1", Config(seed=3)):
        assert read_checkpoint(tmp_path / "1" / "last.pt").row == row
        if lowest is None or row.metrics["val/loss"] < lowest.metrics["val/loss"]:
            lowest = row
        assert read_checkpoint(tmp_path / "1" / "best.pt").row == lowest


@pytest.mark.parametrize("done", [2, 3, 4])
@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_checkpoint_costs_one_epoch(
    done: int, damage: str, whole: list[FinishedEpoch], tmp_path: Path
) -> None:
    first = epochs_of(tmp_path / "1", Config(seed=3))
    for _ in range(done):
        next(first)
    content = (tmp_path / "1" / "last.pt").read_bytes()
    harm = {"cut": content[:-9], "changed": content[:-1] + b"!", "empty": b""}[damage]
    (tmp_path / "1" / "last.pt").write_bytes(harm)  # in place: `best.pt` may be the same file
    rows = list(epochs_of(tmp_path / "2", Config(seed=3), [tmp_path / "1"]))
    assert values(rows) == values(whole)[done - 2 :]
    assert state_in(tmp_path / "2", "best.pt") == state_in(tmp_path / "whole", "best.pt")


def test_without_an_intact_checkpoint_it_begins_with_the_first_epoch(
    whole: list[FinishedEpoch], tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "whole", tmp_path / "1")
    for file in (tmp_path / "1").iterdir():
        file.write_bytes(b"")
    assert values(list(epochs_of(tmp_path / "1", Config(seed=3)))) == values(whole)


def test_a_checkpoint_that_cannot_be_read_now_is_not_passed_over(tmp_path: Path) -> None:
    list(epochs_of(tmp_path / "1", Config()))
    (tmp_path / "1" / "last.pt").unlink()
    (tmp_path / "1" / "last.pt").mkdir()
    with pytest.raises(IsADirectoryError):
        next(epochs_of(tmp_path / "2", Config(), [tmp_path / "1"]))


def test_it_stops_when_it_is_asked_to_and_when_the_loss_is_not_finite(tmp_path: Path) -> None:
    assert list(epochs_of(tmp_path / "1", Config(), should_stop=lambda: True)) == []
    rows = list(epochs_of(tmp_path / "2", Config(lost_at=3)))
    assert [row.diverged for row in rows] == [None, None, "val/loss is nan"]
    assert rows[-1].metrics == {"train/count": 3.0}
    assert list(epochs_of(tmp_path / "3", Config(lost_at=3), [tmp_path / "2"])) == rows[-1:]
    assert read_checkpoint(tmp_path / "3" / "best.pt").row in rows[:2]


def test_other_seeds_give_other_numbers_and_random_keeps_its_state(tmp_path: Path) -> None:
    random.seed(7)
    expected = random.random()
    random.seed(7)
    one, other = (list(epochs_of(tmp_path / str(s), Config(seed=s))) for s in (1, 2))
    assert random.random() == expected
    assert len({value for _, value in values(one) + values(other)}) == 10


def test_a_library_that_an_epoch_imports_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    monkeypatch.setattr(RandomWalk, "setup", lambda self, config: {"place": [0.0, 0.0]})
    monkeypatch.setattr(
        RandomWalk, "train_epoch", lambda *_: sys.modules.update(numpy=np) or {"val/loss": 1.0}
    )
    monkeypatch.delitem(sys.modules, "numpy")
    with pytest.raises(RuntimeError, match=r"has imported numpy, .* import it in setup"):
        next(epochs_of(tmp_path / "1", Config()))


def test_a_training_is_the_same_in_a_process_that_has_not_imported_numpy(
    whole: list[FinishedEpoch], tmp_path: Path
) -> None:
    program = (
        "import sys; from pathlib import Path; from sweeps.config.experiment import Objective\n"
        "from tests.sweeps.random_walk import trainer, Config\n"
        "assert 'numpy' not in sys.modules; folder = Path(sys.argv[1]); folder.mkdir()\n"
        "rows = trainer.fit(Config(seed=3), folder, continue_from=[], threads=1,"
        "    should_stop=lambda: False, accumulation_steps=1,"
        "    objective=Objective(metric='val/loss', direction='minimize'))\n"
        "print([(row.epoch, row.metrics['val/loss']) for row in rows])"
    )
    call = [sys.executable, "-c", program, str(tmp_path / "1")]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.stdout.strip() == str(values(whole)), done.stderr


def test_the_state_of_the_best_epoch_is_loaded(tmp_path: Path) -> None:
    list(epochs_of(tmp_path / "1", Config(seed=3)))
    file = tmp_path / "1" / "best.pt"
    place = random_walk.trainer.load_checkpoint(Config(seed=3), file)["place"]
    assert sum(p**2 for p in place) == read_checkpoint(file).row.metrics["val/loss"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), "out_of_memory"),
        (RuntimeError("CUDA error: an illegal memory access"), "process_lost"),
        (ValueError("out of memory"), "bug"),
    ],
)
def test_the_errors_of_torch_are_recognised(error: Exception, kind: str) -> None:
    assert random_walk.trainer.classify_error(error) == kind


EXPERIMENT = """
name = "walk"
trials = 3
trainer = "tests.sweeps.random_walk:trainer"
[space]
scale = { low = 0.1, high = 1.0 }
"""


def test_a_sweep_needs_no_more_than_the_base_class_and_promotion_says_what_is_missing(
    tmp_path: Path,
    make_sweep: Callable[..., Sweep],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = EXPERIMENT.replace("{", "{{").replace("}", "}}")  # a template of the fixture's
    sweep = make_sweep(name="walk", text=text)
    worker_of(sweep).run()
    assert sweep.progress().ended == 3
    before = set(tmp_path.rglob("*"))
    command = ["sweeps", "promote", "walk", "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    output = capsys.readouterr().err.strip()
    assert re.fullmatch(r"error: trainer .* cannot export models: it has no export, .*", output)
    assert "\n" not in output
    assert set(tmp_path.rglob("*")) == before


def test_a_trainer_may_have_a_loop_of_its_own(make_sweep: Callable[..., Sweep]) -> None:
    text = EXPERIMENT.replace("random_walk:trainer", "random_walk:own_loop")
    sweep = make_sweep(name="walk", text=text.replace("{", "{{").replace("}", "}}"))
    worker_of(sweep).run()
    for trial in sweep.paths.trials():
        result, scale = read_result(trial), read_spec(trial).values["scale"]
        assert (result.state, result.value) == ("complete", scale / 5)
        assert best_checkpoint(trial).read_text() == "5"


def test_promotion_asks_for_what_the_trainer_does_not_have_itself() -> None:
    class Exporting(RandomWalk):
        def export(self, *_: object) -> None:
            pass

    assert missing_for_promotion(Exporting()) == ["evaluate", "usage"]
    assert missing_for_promotion(tiny.trainer) == []
    for member, arguments in (("export", 3), ("evaluate", 3), ("usage", 2)):
        with pytest.raises(InputError, match=f"this trainer .*; write its method {member}"):
            getattr(random_walk.trainer, member)(*[None] * arguments)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        ("RandomWalk", r"it is a class; make an object of it, trainer = RandomWalk\(\)"),
        ("json", "it has no config, .*; subclass sweeps.EpochTrainer or sweeps.BaseTrainer"),
    ],
)
def test_an_object_that_is_no_trainer_is_refused(attribute: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_trainer(f"tests.sweeps.random_walk:{attribute}")


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("config", dict, "its config is not a class derived from pydantic's BaseModel"),
        ("bounds", {}, "its bounds name no metric"),
        ("seed", "sed", "has no field 'sed' for the random seed; .* did you mean 'seed'"),
    ],
)
def test_a_wrong_member_is_one_line(
    member: str, value: object, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "walk.toml").write_text(EXPERIMENT)
    monkeypatch.setattr(RandomWalk, member, value)
    with pytest.raises(InputError, match=message):
        read_experiment(tmp_path / "walk.toml")


def test_a_trainer_that_lacks_a_method_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="fit"):
        type("Half", (sweeps.BaseTrainer,), {"epochs": lambda *_: 1})()
    with pytest.raises(AttributeError, match="'sweeps' has no attribute 'Trainers'"):
        _ = sweeps.Trainers
