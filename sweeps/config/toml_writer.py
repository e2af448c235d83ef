"""Writing a configuration as TOML; `tomllib` only reads."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tables: Mapping[str, Any]) -> str:
    """Return nested tables of JSON values as a TOML document that reads back to the same tables.

    Keys whose value is None are left out, since TOML has no such value: whoever reads the file
    takes the default for them.
    """
    return "\n".join(_lines(tables, ())).strip() + "\n"


def _lines(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a table: first its values, because TOML ends a table at the next one."""
    if above:
        yield ""
        yield f"[{'.'.join(map(_key, above))}]"
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            yield f"{_key(key)} = {_value(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*above, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _value(key)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():  # JSON's escapes are TOML's; DEL alone is escaped in TOML only
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case Mapping():
            inner = (f"{_key(k)} = {_value(v)}" for k, v in value.items() if v is not None)
            return f"{{ {', '.join(inner)} }}"
        case list() | tuple():
            return f"[{', '.join(_value(inner) for inner in value if inner is not None)}]"
        case _:
            return repr(value)
