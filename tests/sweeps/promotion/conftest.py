"""Confirmed sweeps of the tiny trainer, with a store to promote into."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from sweeps.promotion.confirm import best_trials, confirm
from sweeps.storage.sweep import Sweep
from tests.sweeps.conftest import MakeSweep, worker_of

MakeConfirmed = Callable[..., Sweep]


def confirmed(sweep: Sweep, only: str | None = None) -> Sweep:
    """Run a sweep and the confirmation of its best trials; return the confirmation."""
    worker_of(sweep).run()
    confirmation = confirm(sweep, best_trials(sweep, only), sweep.plan.cluster, ("promote", "tiny"))
    worker_of(confirmation).run()
    return confirmation


@pytest.fixture
def searched(make_sweep: MakeSweep, give_store: Callable[[Sweep], None]) -> Sweep:
    sweep = make_sweep(trials=6, pruner="none")
    give_store(sweep)
    confirmed(sweep)
    return sweep


def with_promotion(sweep: Sweep, **settings: object) -> Sweep:
    """The same sweep with other promotion settings."""
    promotion = sweep.experiment.promotion.model_copy(update=settings)
    experiment = sweep.experiment.model_copy(update={"promotion": promotion})
    return replace(sweep, plan=replace(sweep.plan, experiment=experiment))
