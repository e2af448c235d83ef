"""The page of SLURM's answers says how each is read: docs/slurm-answers.md."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sweeps.jobs.slurm.answers import (
    read_accounting,
    read_associations,
    read_configuration,
    read_partitions,
    read_queue_answer,
    read_submission,
)
from sweeps.jobs.slurm.error_messages import is_final, is_unavailable, named_limit

PAGE = Path(__file__).parents[4] / "docs" / "slurm-answers.md"
VERSIONS = {"19.05", "20.11", "21.08", "22.05", "23.11", "24.11", "25.05"}
EXAMPLE = re.compile(
    r"^SLURM (?P<version>\d\d\.\d\d):[^\n]*\n\n^```text\n(?P<answer>.*?)\n```\n\n"
    r"^```json\n(?P<read>.*?)\n```",
    re.MULTILINE | re.DOTALL,
)
USED_OF_A_PARTITION = ("AllowAccounts", "AllowQos", "Default", "Hidden", "MaxTime", "State")
USED_OF_A_CONFIGURATION = (
    *("AccountingStorageType", "AccountingStoreFlags", "AccountingStoreJobComment"),
    *("ClusterName", "JobRequeue", "MaxArraySize"),
)


def queue(text: str) -> list[dict[str, Any]]:
    return [asdict(entry) for entry in read_queue_answer(text)]


def accounting(text: str) -> list[dict[str, Any]]:
    used = ("id", "state", "submitted_at", "name", "comment")
    return [{name: asdict(entry)[name] for name in used} for entry in read_accounting(text)]


def submission(text: str) -> dict[str, str] | None:
    found = read_submission(text)
    return None if found is None else dict(zip(("number", "cluster"), found, strict=True))


def partitions(text: str) -> dict[str, dict[str, str]]:
    return {
        name: {key: table[key] for key in USED_OF_A_PARTITION if key in table}
        for name, table in read_partitions(text).items()
    }


def configuration(text: str) -> dict[str, str]:
    values = read_configuration(text)
    return {key: values[key] for key in USED_OF_A_CONFIGURATION if key in values}


def associations(text: str) -> dict[str, Any] | None:
    found = read_associations(text, "alpha")
    if found is None:
        return None
    return {
        "default": found.default,
        "qos": {account: sorted(names) for account, names in found.qos.items()},
    }


def error(text: str) -> dict[str, str | None]:
    kind = "unavailable" if is_unavailable(text) else "final" if is_final(text) else "unclear"
    return {"kind": kind, "limit": named_limit(text)}


READERS: dict[str, Callable[[str], Any]] = {
    "squeue": queue,
    "sacct": accounting,
    "sbatch": submission,
    "scontrol show partition": partitions,
    "scontrol show config": configuration,
    "sacctmgr show user": associations,
    "an error of SLURM": error,
}


def examples() -> Iterator[tuple[str, str, str, str]]:
    """Yield the command, the version, the answer and the JSON of each example of the page."""
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        command = section.partition("\n")[0]
        for found in EXAMPLE.finditer(section):
            yield command, found["version"], found["answer"], found["read"]


@pytest.mark.parametrize(("command", "version", "answer", "expected"), list(examples()))
def test_each_answer_is_read_as_the_page_says(
    command: str, version: str, answer: str, expected: str
) -> None:
    assert version in VERSIONS
    assert READERS[command](answer) == json.loads(expected)


def test_every_command_and_version_has_an_example_that_the_test_finds() -> None:
    found = list(examples())
    assert {command for command, *_ in found} == set(READERS)
    assert {version for _, version, *_ in found} == VERSIONS
    assert len(found) == PAGE.read_text(encoding="utf-8").count("\nSLURM ")
