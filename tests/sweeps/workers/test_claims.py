import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.filesystem.process import Process, machine
from sweeps.storage.paths import TrialPaths
from sweeps.workers.claims import ClaimLostError, ClaimMonitor, claim_after, heartbeat


@pytest.fixture
def trial(tmp_path: Path) -> TrialPaths:
    return TrialPaths(tmp_path / "0000-12345678")


def test_one_of_two_claims_succeeds_and_a_later_claim_replaces_it(trial: TrialPaths) -> None:
    first = claim_after(trial, 0, "job")
    assert first is not None
    assert claim_after(trial, 0, "job") is None
    second = claim_after(trial, 1, "job")
    assert second is not None
    assert second.is_held()
    with pytest.raises(ClaimLostError, match="claim lost: taken by another"):
        first.check()


def test_a_released_trial_is_an_orphan_at_once(trial: TrialPaths) -> None:
    claim = claim_after(trial, 0, "job")
    monitor = ClaimMonitor(claim_seconds=1000)
    assert not monitor.is_orphan(claim.attempt)
    claim.release()
    assert monitor.is_orphan(claim.attempt)


def test_a_killed_owner_leaves_an_orphan_at_once(trial: TrialPaths) -> None:
    script = (
        "import sys, time; from pathlib import Path\n"
        "from sweeps.workers.claims import claim_after\n"
        "from sweeps.storage.paths import TrialPaths\n"
        "claim_after(TrialPaths(Path(sys.argv[1])), 0, 'job')\n"
        "print('taken', flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", script, str(trial.folder)], stdout=subprocess.PIPE, text=True
    )
    owner.stdout.readline()
    monitor = ClaimMonitor(claim_seconds=1000)
    assert not monitor.is_orphan(trial.attempt(1))
    assert monitor.is_alive(trial.attempt(1))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert monitor.is_orphan(trial.attempt(1))


def test_a_trial_of_another_host_is_an_orphan_only_after_its_owner_was_seen_silent(
    trial: TrialPaths,
) -> None:
    claim = claim_after(trial, 0, "job")
    claim.attempt.claim.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    monitor = ClaimMonitor(claim_seconds=2.0)
    for beat in range(3):
        claim.attempt.heartbeat.write_text(str(beat))
        assert not monitor.is_orphan(claim.attempt)
        time.sleep(0.1)
    claim.attempt.heartbeat.write_text("last")
    assert monitor.is_alive(claim.attempt)
    time.sleep(1.2)
    assert not monitor.is_alive(claim.attempt)  # an old heartbeat is no sign of life
    time.sleep(1.0)
    assert monitor.is_orphan(claim.attempt)


def test_an_owner_on_another_host_that_was_not_watched_is_neither_alive_nor_dead(
    trial: TrialPaths,
) -> None:
    claim = claim_after(trial, 0, "job")
    claim.attempt.claim.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    claim.attempt.heartbeat.write_text("7")
    monitor = ClaimMonitor(claim_seconds=30)
    assert not monitor.is_alive(claim.attempt)
    assert not monitor.is_orphan(claim.attempt)


def test_heartbeats_are_written_while_the_block_runs(trial: TrialPaths) -> None:
    claim = claim_after(trial, 0, "job")
    with heartbeat(claim, interval_seconds=0.02):
        time.sleep(0.2)
    beats = int(claim.attempt.heartbeat.read_text().split()[1])
    time.sleep(0.1)
    assert beats >= 2
    assert int(claim.attempt.heartbeat.read_text().split()[1]) == beats


def test_a_reused_process_number_is_not_the_process() -> None:
    assert Process(machine(), os.getpid(), "1").is_gone()
    assert not Process.of(os.getpid()).is_gone()
    assert not Process("elsewhere", os.getpid(), "1").is_gone()


def test_a_stopped_owner_is_not_alive(trial: TrialPaths) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    claim = claim_after(trial, 0, "job")
    claim.attempt.claim.write_text(json.dumps(Process.of(sleeper.pid).to_json()))
    monitor = ClaimMonitor(claim_seconds=30)
    assert monitor.is_alive(claim.attempt)
    os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(0.1)
    assert not monitor.is_alive(claim.attempt)
    assert not monitor.is_orphan(claim.attempt)
    sleeper.kill()
    sleeper.wait()
