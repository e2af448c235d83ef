"""List all names in a program's archive that `vqvae/export/archive_check.py` does not know.

The check itself stops at the first such name; updating its list needs all of them.
"""

import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from vqvae.errors import InputError
from vqvae.export import archive_check
from vqvae.export.archive_check import checked

PAGE = "docs/exported-programs.md"
KINDS = {"target": "operators", "expr_str": "size expressions"}
"""How a message calls the values of these keys; those of another key are `values of` that key."""

Names = dict[str, set[str]]


def assert_known(programs: Mapping[str, bytes]) -> None:
    """Raise AssertionError, with all unknown names in one line, if programs have any."""
    unknown: Names = defaultdict(set)
    for content in programs.values():
        for kind, names in unknown_names(content).items():
            unknown[kind] |= names
    writer = f"torch {torch.__version__.partition('+')[0]} writes"
    if unknown:
        found = "; ".join(f"{kind} {', '.join(sorted(names))}" for kind, names in unknown.items())
        raise AssertionError(
            f"{writer} names that vqvae/export/archive_check.py does not know: {found}; see {PAGE}"
        )
    for name, content in programs.items():
        try:
            checked(content, Path(name))
        except InputError as error:
            raise AssertionError(
                f"{writer} what the list does not allow: {error}; see {PAGE}"
            ) from error


def unknown_names(content: bytes) -> Names:
    """The unknown names of one program: operators, arguments, records, keys and values."""
    unknown: Names = defaultdict(set)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {n.removeprefix(archive_check._ROOT): archive.read(n) for n in archive.namelist()}
    _walk(json.loads(records[archive_check._GRAPH]), "", unknown)
    for name in sorted(records):
        if name not in archive_check._REQUIRED and not archive_check._WEIGHT.fullmatch(name):
            unknown["records"].add(name)
    try:
        archive_check._Weights.model_validate_json(records[archive_check._WEIGHTS])
    except ValidationError as error:
        extra = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
        unknown["keys"] |= {f"{location[-1]} of a weight" for location in extra}
    return {kind: names for kind, names in unknown.items() if names}


def _walk(found: Any, key: str, unknown: Names) -> None:
    """Add the names that `archive_check._check_graph` would refuse."""
    if key in archive_check._EMPTY and found:
        unknown["keys"].add(f"{key} (not empty)")
    match found:
        case dict():
            for name, value in found.items():
                if name[:3] == "as_" and name not in archive_check._ARGUMENTS:
                    unknown["arguments"].add(name)
                elif not archive_check._WORD.fullmatch(name):
                    unknown["keys"].add(name)
                _walk(value, name, unknown)
        case list():
            for value in found:
                _walk(value, key, unknown)
        case str() if not archive_check._TEXTS.get(key, archive_check._WORD).fullmatch(found):
            kind = KINDS.get(key, f"values of {key}")
            unknown[kind].add(found.removeprefix("torch.ops."))
