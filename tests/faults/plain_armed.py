"""The same steps, in a process of plain Optuna."""

from types import ModuleType
from typing import Any

from tests.faults.steps import Armed

STEPS = ("metrics append", "checkpoint", "rename", "ask", "report", "tell", "publication")
"""There is no claim there; metrics are appended by telling MLflow, which publishes them, too."""


def arm_plain(script: ModuleType) -> None:
    """Replace the functions that make the steps, as `tests.faults.steps.arm` does for a sweep."""
    import optuna
    from optuna.storages.journal import JournalFileBackend
    from optuna.study import _optimize

    armed = Armed()
    armed.halve_checkpoints()
    armed.wrap_save(script)
    armed.wrap(optuna.Study, "ask", "ask")
    armed.wrap(optuna.Trial, "report", "report")
    armed.wrap(_optimize, "_tell_with_warning", "tell")
    _halve_journal(armed, JournalFileBackend)
    for step in ("metrics append", "publication"):
        armed.wrap(script.mlflow, "log_metric", step)
    original = script.mlflow.log_metric

    def log_metric(*given: Any, **named: Any) -> Any:
        armed.reach("metrics append", "middle")
        armed.reach("publication", "middle")
        return original(*given, **named)

    script.mlflow.log_metric = log_metric


def _halve_journal(armed: Armed, backend: Any) -> None:
    original = backend.append_logs

    def append_logs(self: Any, logs: list[dict[str, Any]]) -> None:
        def leave_half() -> None:
            import json

            self._lock.acquire()
            line = json.dumps(logs[0], separators=(",", ":")).encode()
            with open(self._file_path, "ab") as file:  # noqa: PTH123
                file.write(line[: len(line) // 2])

        step = armed.within("ask", "report", "tell")
        if step is not None:
            armed.reach(step, "middle", leave_half)
        original(self, logs)

    backend.append_logs = append_logs
