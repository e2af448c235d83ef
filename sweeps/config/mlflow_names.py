"""The names that MLflow accepts for metrics and parameters, and the rule that renames the others.

A name has letters, digits, `_`, `-`, `.`, `:`, spaces and slashes, and at most 250 characters. No
part between two slashes is empty, `.` or `..`. In any other name each character that MLflow does
not accept becomes `_`: `val/acc@1` is shown as `val/acc_1`.
"""

import re
from collections.abc import Iterable
from hashlib import sha256

MAX_NAME = 250
"""The most characters of a name in MLflow."""
OBJECTIVE, BEST_EPOCH = "objective", "best_epoch"
OWN_METRICS = (OBJECTIVE, BEST_EPOCH)
"""Metrics that the publisher itself adds to a trial's run."""
_REFUSED = re.compile(r"[^/\w.\- :]")
_UNNAMED = "unnamed"
_DIGEST = 8
"""Characters of the digest that tells two names apart which the rule makes equal."""


def why_refused(name: str) -> str | None:
    """Return why MLflow does not accept a name of a metric or a parameter; None if it does."""
    if not name:
        return "it is empty"
    if refused := dict.fromkeys(_REFUSED.findall(name)):
        return f"MLflow does not accept {' '.join(refused)} in a name"
    if len(name) > MAX_NAME:
        return f"MLflow accepts at most {MAX_NAME} characters"
    if name.startswith("..") or any(part in {"", ".", ".."} for part in name.split("/")):
        return "MLflow accepts no .. at the beginning and no empty part between slashes"
    return None


def rename(name: str) -> str:
    """Return the name under which MLflow shows `name`; the same if MLflow accepts it."""
    if why_refused(name) is None:
        return name
    parts = [part for part in _REFUSED.sub("_", name).split("/") if part]
    joined = "/".join("_" * len(part) if part in {".", ".."} else part for part in parts)
    if joined.startswith(".."):
        joined = f"__{joined[2:]}"
    return joined if len(joined) <= MAX_NAME else _with_digest(joined, name)


def names_in_mlflow(groups: Iterable[Iterable[str]], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the name in MLflow of each name; no two are equal.

    A name keeps the one that it got first, so further groups change nothing.

    Args:
        groups: the names in the order in which they were recorded: those of each epoch.
        taken: names in MLflow that are used for something else.
    """
    used, found = set(taken), dict[str, str]()
    for group in groups:
        new = [name for name in group if name not in found]
        for name in sorted(new, key=lambda name: why_refused(name) is not None):
            shown, salt = rename(name) or _UNNAMED, name
            while shown in used:
                shown, salt = _with_digest(rename(name) or _UNNAMED, salt), f"{salt} "
            used.add(shown)
            found[name] = shown
    return found


def metric_names(groups: Iterable[Iterable[str]]) -> dict[str, str]:
    """Return the name in MLflow of each metric of a trainer."""
    return names_in_mlflow(groups, taken=OWN_METRICS)


def _with_digest(shown: str, name: str) -> str:
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{shown[: MAX_NAME - _DIGEST - 1]}-{digest}"


def describe_renamed(names: dict[str, str]) -> str:
    """Return the renamed ones as `old → new`, joined by commas; empty if there are none."""
    return ", ".join(f"{name} → {shown}" for name, shown in names.items() if name != shown)
