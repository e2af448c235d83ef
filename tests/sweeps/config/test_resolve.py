"""Values that a trainer would convert silently are refused, wherever they stand in the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.config.resolve import read_experiment
from sweeps.errors import InputError
from tests.sweeps.conftest import EXPERIMENT

FILE = EXPERIMENT.format(
    trials=3, epochs=2, pruner="none", seconds=0, bug="false", gate_at=0
).replace("{", "{{").replace("}", "}}")  # fmt: skip


def read(write_experiment: Callable[..., Path], old: str, new: str) -> None:
    assert old in FILE
    read_experiment(write_experiment(text=FILE.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials = 3", 'trials = "12"', r"trials = '12': .*; remove the quotes: 12$"),
        ("trials = 3", "trials = 12.0", r"trials = 12.0: .*; write 12$"),
        ("trials = 3", "trials = true", r"trials = True: .*; write 1$"),
        ("startup_trials = 4", 'startup_trials = "4"', "sampler.startup_trials.*quotes: 4$"),
        ("epochs = 2", 'epochs = "2"', r"\[trial\]: training.epochs = '2': .*; remove the quotes"),
        ("epochs = 2", "epochs = true", r"epochs = True: the trainer needs a number; write 1$"),
        ("bug = false", 'bug = "false"', r"bug = 'false': the trainer needs true or false; remove"),
        ("bug = false", "bug = 0", r"bug = 0: the trainer needs true or false; write false$"),
        ("[4, 16, 64]", '["4", "16"]', r"\[space\]: training.batch_size = '4': the trainer needs"),
        ("[4, 16, 64]", '[4, "16"]', r"\[space\]: training.batch_size = '16': the trainer needs"),
        ("[4, 16, 64]", "[true, 4]", r"training.batch_size = True: the trainer needs .*write 1$"),
    ],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_refused_with_what_to_write(
    write_experiment: Callable[..., Path], old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read(write_experiment, old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[4, 16, 64]", "[4.0, 16]"),
        ("seconds = 0", "seconds = 1"),
        ("gate_at = 0", "gate_at = 0.0"),
        ('["adam", "sgd"]', '["sgd", "adam"]'),
    ],
)
def test_a_number_is_a_number_with_and_without_a_point(
    write_experiment: Callable[..., Path], old: str, new: str
) -> None:
    read(write_experiment, old, new)
