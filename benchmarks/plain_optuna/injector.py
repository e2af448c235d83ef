"""The fault injector for a process of plain Optuna: the same steps as in tests/faults/steps.py."""

from types import ModuleType
from typing import Any

from tests.faults.steps import Injector

STEPS = ("metrics append", "checkpoint", "rename", "ask", "report", "tell", "publication")
"""Plain Optuna has no claim. It logs metrics to MLflow, and that is also their publication."""


def inject_plain(script: ModuleType) -> None:
    """Wrap the functions of the script that make the steps, as `tests.faults.steps.inject` does."""
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.study import _optimize

    injector = Injector()
    injector.halve_checkpoints()
    injector.wrap_save(script)
    injector.wrap(optuna.Study, "ask", "ask")
    injector.wrap(optuna.Trial, "report", "report")
    injector.wrap(_optimize, "_tell_with_warning", "tell")
    _halve_journal(injector, JournalFileBackend)
    for step in ("metrics append", "publication"):
        injector.wrap(script.mlflow, "log_metric", step)
    original = script.mlflow.log_metric

    def log_metric(*args: Any, **kwargs: Any) -> Any:
        injector.reach("metrics append", "middle")
        injector.reach("publication", "middle")
        return original(*args, **kwargs)

    script.mlflow.log_metric = log_metric


def _halve_journal(injector: Injector, backend: Any) -> None:
    original = backend.append_logs

    def append_logs(self: Any, logs: list[dict[str, Any]]) -> None:
        def write_half_a_line() -> None:
            import json

            self._lock.acquire()
            line = json.dumps(logs[0], separators=(",", ":")).encode()
            with open(self._file_path, "ab") as file:  # noqa: PTH123
                file.write(line[: len(line) // 2])

        step = injector.within("ask", "report", "tell")
        if step is not None:
            injector.reach(step, "middle", write_half_a_line)
        original(self, logs)

    backend.append_logs = append_logs
