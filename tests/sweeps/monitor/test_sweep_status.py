"""The state of a sweep, from its folders."""

from sweeps.monitor.sweep_status import sweep_status
from sweeps.storage.trial_record import append_row, write_continued
from sweeps.trainer import FinishedEpoch
from tests.sweeps.conftest import MakeSweep, worker_of


def test_a_renamed_metric_is_listed_also_if_the_last_epoch_does_not_have_it(
    make_sweep: MakeSweep,
) -> None:
    sweep = make_sweep(trials=1)
    claim = worker_of(sweep)._next_claim()
    write_continued(claim.attempt, 0)
    for epoch, names in ((1, ("val/score", "val/acc@1")), (2, ("val/score",))):
        append_row(
            claim.attempt, FinishedEpoch(epoch, dict.fromkeys(names, 0.5), 1000 * epoch, 1.0)
        )
    assert sweep_status(sweep, None).renamed == "val/acc@1 → val/acc_1"
