"""What is known of jobs in SLURM, from a squeue that a test writes."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import WorldError
from sweeps.filesystem import atomic as files
from sweeps.jobs.slurm.commands import SlurmSilentError, ask, is_silence
from sweeps.jobs.slurm.pending_reasons import in_words
from sweeps.jobs.slurm.queue import Queue, look
from sweeps.jobs.slurm.rate_limit import ask_if_free, ask_in_turn, now
from sweeps.jobs.slurm.site_info import user
from sweeps.jobs.slurm.time_limit import END, note_of_the_end, seconds_left
from sweeps.jobs.whereabouts import whereabouts
from sweeps.storage.paths import SlurmPaths
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


def let_pass(slurm: SlurmPaths, seconds: float) -> None:
    """Make what was asked and answered so much older."""
    if slurm.queue.exists():
        content = json.loads(slurm.queue.read_text())
        slurm.queue.write_text(json.dumps(content | {"asked": content["asked"] - seconds}))
    times = json.loads(slurm.asked.read_text())
    slurm.asked.write_text(json.dumps([then - seconds for then in times]))


def test_one_answer_serves_all_who_ask_within_a_minute(
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
    let_pass(paths.slurm, 63)
    look(paths)
    assert calls.read_text().count("called") == 2


def test_no_third_question_is_put_within_a_minute(
    make_sweep: MakeSweep, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = command("squeue", "echo '7_1|RUNNING|n1|1:00|a|None'")
    paths = make_sweep().paths
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        if seconds > 1:  # not a lock's own
            waited.append(seconds)
            let_pass(paths.slurm, seconds)

    monkeypatch.setattr("sweeps.jobs.slurm.rate_limit.time.sleep", sleep)
    assert look(paths).asked  # one
    let_pass(paths.slurm, 61)
    assert look(paths).entries  # the watcher's own pace leaves room for one who is in a hurry
    assert calls.read_text().count("called") == 1
    look(paths, fresh=5.0)  # two
    let_pass(paths.slurm, 10)
    assert ask_if_free(paths.slurm, "squeue") is not None
    assert ask_if_free(paths.slurm, "squeue") is None
    assert look(paths, fresh=5.0).entries  # which has to do for now
    assert calls.read_text().count("called") == 3
    assert waited == []
    ask_in_turn(paths.slurm, "squeue")
    assert 42 < sum(waited) < 53
    look(paths, since=now(paths.slurm))
    assert 52 < sum(waited) < 63
    assert calls.read_text().count("called") == 5


def test_an_answer_that_is_too_old_is_none(
    make_sweep: MakeSweep, command: Callable[[str, str], Path]
) -> None:
    command("squeue", "echo '7_1|RUNNING|n1|1:00|a|None'")
    paths = make_sweep().paths
    paths.job("a-0").folder.mkdir(parents=True)
    assert ask_if_free(paths.slurm, "squeue")
    assert ask_if_free(paths.slurm, "squeue")
    assert look(paths) == Queue(0.0, {})
    files.write(
        paths.job("a-0").folder / "submitted.json", json.dumps({"id": "7_1", "scheduler": "slurm"})
    )
    assert whereabouts(paths) == ["jobs: 1 sent; SLURM is asked within a minute where they are"]
    let_pass(paths.slurm, 63)
    assert look(paths).asked
    let_pass(paths.slurm, 200)
    assert ask_if_free(paths.slurm, "squeue")
    assert look(paths).asked > now(paths.slurm) - 5  # not at the watcher's pace
    assert whereabouts(paths) == ["job 7_1 runs on n1 (1 min 00 s left)"]


def test_a_controller_that_is_away_is_waited_for_and_a_refusal_is_not(
    tmp_path: Path, command: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.jobs.slurm.commands.PAUSE_SECONDS", 0.01)
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


def test_a_jobs_end_is_what_slurm_or_its_first_line_wrote_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(scheduler="slurm", time_limit="12:00:00")
    assert seconds_left(cluster) == 12 * 3600
    line = f"{note_of_the_end(cluster)}; echo ${END}"
    noted = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    monkeypatch.setenv(END, noted.stdout.strip())
    assert seconds_left(cluster) == pytest.approx(12 * 3600, abs=5)
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


def test_who_has_no_name_here_is_asked_for_by_number(
    make_sweep: MakeSweep,
    command: Callable[[str, str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("sweeps.jobs.slurm.site_info.getpass.getuser", nameless)
    calls = command("sacctmgr", f"echo \"$*\" > {tmp_path}/said; echo 'a|b|normal,urgent'")
    slurm = make_sweep().paths.slurm
    for _ in range(2):  # and once only
        known = user(slurm)
        assert known is not None
        assert (known.default, known.qos) == ("a", {"b": {"normal", "urgent"}})
    assert f" show user {os.getuid()} withassoc " in (tmp_path / "said").read_text()
    assert calls.read_text().count("called") == 1
