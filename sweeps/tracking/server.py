"""A tracking server is asked for an experiment, without importing MLflow."""

import base64
import os
import ssl
import urllib.error
import urllib.request

from sweeps.errors import EnvironmentFailure
from sweeps.tracking.store import VARIABLE

CERTIFICATE = "MLFLOW_TRACKING_SERVER_CERT_PATH"
SERVER_SECONDS = 20
SERVER_QUERY = "/api/2.0/mlflow/experiments/search?max_results=1"
_FIXES = {
    401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, for jobs in setup",
    403: "it refuses this host name; start it with --allowed-hosts 'name,name:*'",
    404: "there is no MLflow server at this address",
}


def check_tracking_server(tracking: str | None, *, seconds: float = SERVER_SECONDS) -> str:
    """Ask the tracking server for an experiment, if there is a server.

    Its `/health` page is no test: MLflow answers it to hosts whose other requests it refuses.

    Returns:
        What was found, in one line; another store than a server is not asked.

    Raises:
        EnvironmentFailure: the server does not answer, or refuses; the message says what to do.
    """
    tracking = tracking or os.environ.get(VARIABLE)
    if not tracking:
        return "a database in the runs folder; no server is used"
    if not tracking.startswith(("http://", "https://")):
        return f"{tracking} is no HTTP server, so it was not asked"
    url = f"{tracking.rstrip('/')}{SERVER_QUERY}"
    request = urllib.request.Request(url, headers=_authorization())  # noqa: S310 (it is http)
    try:
        # MLflow's own variable for the certificate of a lab.
        trusted = ssl.create_default_context(cafile=os.environ.get(CERTIFICATE) or None)
        with urllib.request.urlopen(request, timeout=seconds, context=trusted):  # noqa: S310
            return f"{tracking} answers"
    except urllib.error.HTTPError as error:
        error.close()
        advice = _FIXES.get(error.code, "see the server's log")
        raise EnvironmentFailure(f"{tracking} answers {error.code}: {advice}") from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        name = "tracking" if tracking != os.environ.get(VARIABLE) else VARIABLE
        advice = f"start it, or remove {name} and send the runs later with: sweeps sync"
        raise EnvironmentFailure(f"{tracking} does not answer ({reason}); {advice}") from error


def _authorization() -> dict[str, str]:
    """Return the credentials in the environment, as MLflow's own client sends them."""
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
