"""`--json`: one JSON document on standard output, for scripts (docs/scripts.md has the keys)."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

JsonOption = Annotated[
    bool, typer.Option("--json", help="print one JSON document, for scripts (docs/scripts.md)")
]


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON document; paths are texts, and numbers that JSON does not have are null."""
    print(json.dumps(_plain(content), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case Path():
            return str(value)
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
