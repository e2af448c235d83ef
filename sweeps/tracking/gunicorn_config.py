"""Gunicorn's configuration for MLflow's pages: its assistant does not open at the first visit.

MLflow has no setting for this. Its page opens the assistant once, and remembers in the browser that
it did. A line in the page says so before MLflow's program starts. The server has no assistant
(`sweeps/tracking/ui.py`), so the panel could only show an error.

Gunicorn reads this file by its path, so it imports nothing of this package.
"""

from collections.abc import Callable, Iterable
from typing import Any

OPENED_ONCE = "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1"
"""The key in the browser's storage: its name in the program of MLflow 3.17, and its version."""
SCRIPT = f"<script>try{{localStorage.setItem('{OPENED_ONCE}','true')}}catch{{}}</script>".encode()
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def post_worker_init(worker: Any) -> None:
    """Wrap the application of a server's process, before its first request."""
    worker.wsgi = without_assistant(worker.wsgi)


def without_assistant(application: Application) -> Application:
    """Return the application with the line in its page; every other answer is passed on."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/" or environ.get("REQUEST_METHOD") != "GET":
            return application(environ, start_response)
        # The whole page is needed, also where the browser has it in an older form.
        whole = {k: v for k, v in environ.items() if not k.startswith(("HTTP_IF_", "HTTP_RANGE"))}
        return _with_script(application, whole, start_response)

    return answer


def _with_script(
    application: Application, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    started: list[Any] = []
    parts = application(environ, lambda *given: started.extend(given))
    try:
        page = b"".join(parts).replace(b"<head>", b"<head>" + SCRIPT, 1)
    finally:
        getattr(parts, "close", lambda: None)()
    status, headers = started[:2]
    kept = [(k, v) for k, v in headers if k.lower() not in {"content-length", "etag"}]
    start_response(status, [*kept, ("Content-Length", str(len(page)))], *started[2:])
    return [page]
