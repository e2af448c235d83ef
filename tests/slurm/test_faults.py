"""Ten kinds of faults, in sweeps whose jobs run in SLURM."""

from pathlib import Path

import pytest

from tests.faults import sites
from tests.faults.scenarios import Fault, Scenario, run_scenario
from tests.slurm.conftest import Testbed

WORKER_FAULTS = [
    Fault("kill -9 of a worker", "report", "middle"),
    Fault("kill -9 of all workers", "rename", "before"),
    Fault("a worker frozen, replaced, resumed", "metrics append", "after"),
    Fault("over quota", "tell", "before"),
    Fault("kill -9 of the publisher"),
]
OTHER_FAULTS = [
    Fault("kill -9 of the supervisor"),
    Fault("half a line in every file"),
    Fault("checkpoints cut short"),
    Fault("a trial's folder deleted"),
    Fault("two sweeps on two hosts"),
]


@pytest.mark.parametrize("faults", [WORKER_FAULTS, OTHER_FAULTS], ids=["of workers", "of others"])
def test_nothing_is_lost_on_slurm(
    faults: list[Fault],
    testbed: Testbed,
    tmp_path: Path,
    empty_store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    scenario = Scenario(1, faults, "tiny", "database", seed=1)
    runs = tmp_path / "scenario-1" / "disk" / "runs"
    runs.mkdir(parents=True)
    (runs / "mlflow.db").write_bytes(empty_store.read_bytes())
    run_scenario(scenario, tmp_path, cluster=sites.ON_SLURM)
    with capsys.disabled():
        print(f"\n{len(scenario.fired)} faults in {scenario.seconds:.0f} s: {scenario.outcome}")
    assert scenario.problems == [], scenario.messages
