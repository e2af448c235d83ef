"""The notify command of a cluster: once for each event, and never in the way of the sweep."""

import json
import os
import threading
import time
from pathlib import Path

import pytest

from sweeps.config.cluster import Cluster
from sweeps.errors import InputError
from sweeps.jobs import notify as module
from sweeps.jobs.launcher import submit_missing
from sweeps.jobs.notify import check_notify, notify
from sweeps.jobs.start import start_or_update
from sweeps.jobs.submit import submission_text
from sweeps.storage.sweep import Sweep, stop_sweep
from tests.sweeps.conftest import MakeSweep, worker_of

TELL = '#!/bin/sh\nsleep 0.3\nprintf "%s|%s|%s|%s\\n" "$SWEEP_NAME" "$SWEEP_EVENT" "$SWEEP_FOLDER" '
TELL += '"$SWEEP_MESSAGE" >> "$1"\n'


@pytest.fixture
def messages(tmp_path: Path) -> Path:
    """The file to which the command appends."""
    script = tmp_path / "tell me"
    script.write_text(TELL)
    script.chmod(0o755)
    return tmp_path / "messages; touch x"


def cluster(messages: Path, **settings: object) -> Cluster:
    return Cluster(notify=[str(messages.with_name("tell me")), str(messages)], **settings)


def lines(messages: Path) -> list[list[str]]:
    return (
        [line.split("|") for line in messages.read_text().splitlines()] if messages.exists() else []
    )


def wait_until_told(sweep: Sweep) -> None:
    deadline = time.monotonic() + 120
    while not sweep.paths.notify_log.exists() or not sweep.paths.notify_log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_two_jobs_that_end_a_sweep_tell_it_once(
    make_sweep: MakeSweep, give_store: object, messages: Path
) -> None:
    sweep = make_sweep(trials=4, epochs=2, cluster=cluster(messages, workers=2, threads=1, jobs=2))
    give_store(sweep)
    assert len(submit_missing(sweep)) == 2
    wait_until_told(sweep)
    notify(sweep)
    ((name, event, folder, message),) = lines(messages)
    assert (name, event, folder) == ("tiny", "ended", str(sweep.paths.folder))
    assert message.startswith("Sweep tiny has ended; 4 of 4 trials have ended; best trial 000")
    assert "status 0" in sweep.paths.notify_log.read_text()


def test_many_processes_at_once_tell_one_event_once(make_sweep: MakeSweep, messages: Path) -> None:
    sweep = make_sweep(trials=1, cluster=cluster(messages))
    stop_sweep(sweep.paths, "by hand")
    threads = [threading.Thread(target=notify, args=(sweep,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ((_, event, _, message),) = lines(messages)
    assert event == "stopped"
    assert "(by hand)" in message
    assert "no trial is complete" in message


def test_a_sweep_that_is_extended_tells_its_next_end(
    make_sweep: MakeSweep, give_store: object, messages: Path, tmp_path: Path
) -> None:
    where = cluster(messages)
    sweep = make_sweep(trials=2, cluster=where)
    give_store(sweep)
    for trials in (2, 2, 3):
        longer = make_sweep(trials=trials, cluster=where)
        source = tmp_path / "tiny.toml"
        start_or_update(longer.paths, longer.resolved, source, longer.plan, "local")
        worker_of(longer).run()
        notify(longer)
    assert [(event, "3 of 3" in message) for _, event, _, message in lines(messages)] == [
        ("ended", False),
        ("ended", True),
    ]


def test_a_sweep_without_jobs_waits_for_a_person(make_sweep: MakeSweep, messages: Path) -> None:
    notify(make_sweep(trials=2, cluster=cluster(messages)))
    ((_, event, _, message),) = lines(messages)
    assert event == "waiting"
    assert "0 of 2" in message


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        (["/bin/sh", "-c", "echo no mail here; exit 3"], "status 3"),
        (["/nowhere/at-all"], "could not be run"),
        (["/bin/sh", "-c", "sleep 600"], "was killed after"),
    ],
)
def test_a_command_that_fails_or_hangs_changes_nothing(
    command: list[str], outcome: str, make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND_SECONDS", 0.5)
    sweep = make_sweep(trials=1, cluster=Cluster(notify=command))
    worker_of(sweep).run()
    notify(sweep)
    assert sweep.is_over()
    assert outcome in sweep.paths.notify_log.read_text()
    record = json.loads(sweep.paths.notified("ended").read_text())
    assert record["SWEEP_EVENT"] == "ended"


def test_a_command_that_does_not_exist_is_refused_before_any_job() -> None:
    assert check_notify(Cluster(notify=["sh"])).endswith("/sh")
    with pytest.raises(InputError, match="no program 'no-such-program' here; write the path"):
        check_notify(Cluster(notify=["no-such-program"]))


def test_mail_is_asked_of_slurm(
    make_sweep: MakeSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srun").touch(mode=0o755)  # submitit looks for it, and does not run it here
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    paths = make_sweep().paths
    mail = Cluster(scheduler="slurm", mail_type="END,FAIL", mail_user="me@lab.example")
    text = submission_text(paths, mail)
    assert "#SBATCH --mail-type=END,FAIL\n" in text
    assert "#SBATCH --mail-user=me@lab.example\n" in text
    assert "--mail" not in submission_text(paths, Cluster(scheduler="slurm"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": "slurm", "mail_type": "END,FAILED"}, "'FAILED' is no mail type of SLURM"),
        ({"scheduler": "slurm", "mail_user": "a b"}, "is not one word"),
        ({"mail_type": "END"}, 'need scheduler = "slurm"'),
        ({"notify": [""]}, "its first word is empty"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cluster(**settings)
