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


def test_one_of_two_gets_the_trial_and_the_other_loses_its_claim(trial: TrialPaths) -> None:
    first = claim_after(trial, 0, "job")
    assert first is not None
    assert claim_after(trial, 0, "job") is None
    second = claim_after(trial, 1, "job")
    assert second is not None
    assert second.is_held()
    with pytest.raises(ClaimLostError, match="taken by another"):
        first.check()


def test_a_trial_given_back_is_an_orphan_at_once(trial: TrialPaths) -> None:
    claim = claim_after(trial, 0, "job")
    lookout = ClaimMonitor(claim_seconds=1000)
    assert not lookout.is_orphan(claim.attempt)
    claim.release()
    assert lookout.is_orphan(claim.attempt)


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
    lookout = ClaimMonitor(claim_seconds=1000)
    assert not lookout.is_orphan(trial.attempt(1))
    assert lookout.is_alive(trial.attempt(1))
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    assert lookout.is_orphan(trial.attempt(1))


def test_an_owner_elsewhere_is_an_orphan_only_after_it_was_seen_silent(trial: TrialPaths) -> None:
    claim = claim_after(trial, 0, "job")
    claim.attempt.claim.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    lookout = ClaimMonitor(claim_seconds=2.0)
    for beat in range(3):
        claim.attempt.heartbeat.write_text(str(beat))
        assert not lookout.is_orphan(claim.attempt)
        time.sleep(0.1)
    claim.attempt.heartbeat.write_text("last")
    assert lookout.is_alive(claim.attempt)
    time.sleep(1.2)
    assert not lookout.is_alive(claim.attempt)  # what it was once says nothing of now
    time.sleep(1.0)
    assert lookout.is_orphan(claim.attempt)


def test_an_owner_elsewhere_that_nobody_watched_is_neither_alive_nor_dead(
    trial: TrialPaths,
) -> None:
    claim = claim_after(trial, 0, "job")
    claim.attempt.claim.write_text(json.dumps({"machine": "elsewhere", "pid": 1, "started": "1"}))
    claim.attempt.heartbeat.write_text("7")
    lookout = ClaimMonitor(claim_seconds=30)
    assert not lookout.is_alive(claim.attempt)
    assert not lookout.is_orphan(claim.attempt)


def test_the_heart_beats_while_the_block_runs(trial: TrialPaths) -> None:
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
    lookout = ClaimMonitor(claim_seconds=30)
    assert lookout.is_alive(claim.attempt)
    os.kill(sleeper.pid, signal.SIGSTOP)
    time.sleep(0.1)
    assert not lookout.is_alive(claim.attempt)
    assert not lookout.is_orphan(claim.attempt)
    sleeper.kill()
    sleeper.wait()
