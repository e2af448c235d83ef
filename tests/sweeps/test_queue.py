"""What is known of jobs in SLURM, from a squeue that a test writes."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cluster import Cluster
from sweeps.errors import WorldError
from sweeps.slurm.chain import seconds_left
from sweeps.slurm.commands import SlurmSilentError, ask, is_silence
from sweeps.slurm.queue import look
from sweeps.slurm.reasons import in_words
from tests.sweeps.conftest import MakeSweep


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Make a command of the given lines of shell; its calls are counted in a file."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        calls.write_text("")
        (folder / name).write_text(f"#!/bin/bash\necho called >> {calls}\n{script}\n")
        (folder / name).chmod(0o755)
        return calls

    return make


def test_one_answer_serves_all_who_ask_within_half_a_minute(
    make_sweep: MakeSweep, command: Callable[[str, str], Path]
) -> None:
    calls = command(
        "squeue",
        "echo '7_1|RUNNING|n1|1-02:03:04|a|None'\n"
        "echo '7_[2-3]|PENDING||UNLIMITED|(null)|ReqNodeNotAvail, May be | reserved'",
    )
    paths = make_sweep().paths
    running, waiting = look(paths).entries.values()
    assert (running.seconds_left, running.comment, running.waits) == (93784.0, "a", False)
    assert waiting.reason == "ReqNodeNotAvail, May be | reserved"
    assert (waiting.seconds_left, waiting.comment, waiting.waits) == (None, "", True)
    assert look(paths).entries == {running.id: running, waiting.id: waiting}
    assert calls.read_text().count("called") == 1
    os.utime(paths.queue, (time.time() - 31, time.time() - 31))
    look(paths)
    assert calls.read_text().count("called") == 2


def test_a_controller_that_is_away_is_waited_for_and_a_refusal_is_not(
    tmp_path: Path, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.slurm.commands.PAUSE_SECONDS", 0.01)
    away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    calls = command(
        "squeue",
        f"[ -f {tmp_path}/back ] && exit; touch {tmp_path}/back; echo '{away}' >&2; exit 1",
    )
    assert ask("squeue", patience=30) == ""
    assert calls.read_text().count("called") == 2
    command("squeue", f"echo '{away}' >&2; exit 1")
    with pytest.raises(SlurmSilentError, match="Unable to contact"):
        ask("squeue")
    calls = command("squeue", "echo 'squeue: error: Invalid user' >&2; exit 1")
    with pytest.raises(WorldError, match="Invalid user"):
        ask("squeue", patience=30)
    assert calls.read_text().count("called") == 1


@pytest.mark.parametrize(
    "complaint",
    [
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller",
        "slurm_load_jobs error: Socket timed out on send/recv operation",
        "Zero Bytes were transmitted or received",
    ],
)
def test_silence_is_known_from_a_refusal(complaint: str) -> None:
    assert is_silence(complaint)
    assert not is_silence("sbatch: error: invalid partition specified: comp371")


def test_a_jobs_end_comes_from_slurm_and_from_its_file_where_slurm_says_nothing(
    command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(scheduler="slurm", time_limit="12:00:00")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    command("squeue", "echo ' 1:30'")
    assert seconds_left(cluster) == 90
    command("squeue", "echo UNLIMITED")
    assert seconds_left(cluster) == 12 * 3600
    monkeypatch.setenv("SLURM_JOB_END_TIME", f"{time.time() + 500:.0f}")
    assert seconds_left(cluster) == pytest.approx(500, abs=5)
    assert seconds_left(Cluster(time_limit="60")) == 3600


def test_reasons_are_plain_words_with_the_mend_where_waiting_is_in_vain() -> None:
    assert in_words("QOSMaxJobsPerUserLimit") == (
        "your other job is running; this one starts when it ends"
    )
    said = in_words("PartitionConfig", "7_1")
    assert said.startswith("it will never start: account,")
    assert "scancel 7_1" in said
    assert in_words("ReqNodeNotAvail, May be reserved").startswith("the nodes are down")
    assert "scontrol release 7" in in_words("launch failed requeued held", "7")
    assert in_words("SomethingNew") == "SLURM says SomethingNew"
