"""What is written as TOML reads back to the same tables."""

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sweeps.config.toml_writer import to_toml
from vqvae.config import Config
from vqvae.toml import read_config

texts = st.text(st.characters(codec="utf-8"))
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    texts,
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner))


@given(st.dictionaries(texts, values))
def test_any_tables_read_back(tables: dict[str, Any]) -> None:
    read = tomllib.loads(to_toml(tables))
    assert read == tables
    assert repr(sorted_keys(read)) == repr(sorted_keys(tables))  # 1 == 1.0 == True


def sorted_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: sorted_keys(value[key]) for key in sorted(value)}
    return [sorted_keys(inner) for inner in value] if isinstance(value, list) else value


def test_values_stand_before_the_tables_below_them() -> None:
    tables = {"a": {"b": {"c": 1e-05}, "d": None, "e f": "g\n"}, "h": True}
    assert to_toml(tables) == 'h = true\n\n[a]\n"e f" = "g\\n"\n\n[a.b]\nc = 1e-05\n'


def test_the_configuration_of_the_model_reads_back(tmp_path: Path) -> None:
    given_config = {
        "data": {"root": 'a "b" \\ ü', "phantom": {"height": 64}, "on_bad_slice": "skip"},
        "model": {"commitment": 1e-16, "decay": 0.1 + 0.2},
        "training": {"learning_rate": 1e16, "optimizer": "sgd"},
    }
    for config in (
        Config.model_validate(given_config),
        Config.model_validate({"data": {"root": "x", "cache": "y"}}),
    ):
        path = tmp_path / "config.toml"
        path.write_text(to_toml(config.model_dump(mode="json")), encoding="utf-8")
        assert read_config(path) == config
