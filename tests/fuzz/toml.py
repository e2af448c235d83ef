"""Experiment and cluster files: valid ones from a grammar, mutated ones, and damaged ones."""

import datetime
import json
import math
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.case import Case
from tests.fuzz.text import any_text, words

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("experiments/*.toml")])
CLUSTERS = sorted(ROOT.glob("experiments/clusters/*.toml"))
FILE = "given.toml"
HUGE = "a number of thousands of digits"


def written(tables: dict[str, Any]) -> str:
    """Nested tables as TOML, all inline, which every parser must accept."""
    return "".join(f"{_key(key)} = {_value(value)}\n" for key, value in tables.items())


def _key(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:  # noqa: PLR0911 (one for each kind)
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str() if value == HUGE:
            return "0x" + "F" * 5000  # Python reads this number, but does not write it in decimal
        case float():
            if math.isnan(value):
                return "nan"
            return repr(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(_value(inner) for inner in value) + "]"
        case dict():
            inner = ", ".join(f"{_key(key)} = {_value(v)}" for key, v in value.items())
            return "{" + inner + "}"
        case datetime.date():
            return value.isoformat()
    raise TypeError(type(value))


numbers = st.one_of(
    st.sampled_from([0, -0.0, 1, -1, 2, 3, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf]),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, 10**30, -(10**30), 10**400]),
    st.integers(-1000, 1000),
    st.floats(),
)
leaves = st.one_of(
    numbers, st.just(HUGE), st.booleans(), any_text, st.just(datetime.date(2026, 11, 22))
)
anything = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(any_text, inner, max_size=3)
    ),
    max_leaves=6,
)

_epochs = st.integers(1, 12)


@st.composite
def ranges(draw: st.DrawFn, low: float, high: float) -> dict[str, Any]:
    bounds = sorted(draw(st.lists(st.floats(low, high), min_size=2, max_size=2, unique=True)))
    return {"low": bounds[0], "high": bounds[1], **({"log": True} if draw(st.booleans()) else {})}


@st.composite
def tiny_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A valid experiment of the tiny trainer."""
    space: dict[str, Any] = {}
    if draw(st.booleans()):
        space["training.batch_size"] = draw(
            st.lists(st.integers(1, 100), min_size=1, max_size=4, unique=True)
        )
    else:
        low = draw(st.integers(1, 50))
        space["training.batch_size"] = {"low": low, "high": low + draw(st.integers(1, 50))}
    if draw(st.booleans()):
        space["training.optimizer"] = ["adam", "sgd"]
        cases = {name: draw(ranges(1e-3, 10.0)) for name in ("adam", "sgd")}
        space["training.learning_rate"] = {"depends_on": "training.optimizer", "cases": cases}
    tables: dict[str, Any] = {
        "name": draw(words),
        "trials": draw(st.integers(1, 300)),
        "trainer": "tests.sweeps.tiny:trainer",
        "objective": {"metric": draw(st.sampled_from(["val/score", "val/loss"]))},
        "trial": {"training": {"epochs": draw(_epochs)}},
        "space": space,
    }
    return draw(with_options(tables))


@st.composite
def with_options(draw: st.DrawFn, tables: dict[str, Any]) -> dict[str, Any]:
    if draw(st.booleans()):
        kind = draw(st.sampled_from(["tpe", "random"]))
        sampler = {"kind": kind, "startup_trials": draw(st.integers(1, 20))}
        tables["sampler"] = sampler | {"seed": draw(st.integers(0, 2**32 - 1))}
    if draw(st.booleans()):
        tables["pruner"] = {
            "kind": draw(st.sampled_from(["none", "successive_halving"])),
            "min_epochs": draw(st.integers(1, 9)),
            "reduction": draw(st.integers(2, 5)),
        }
    if draw(st.booleans()):
        tables["promotion"] = {"candidates": draw(st.integers(1, 4)), "model": draw(words)}
    return tables


@st.composite
def vqvae_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A valid experiment of the VQ-VAE, whose data set has two slices to train on."""
    rates = draw(ranges(1e-5, 1e-1))
    sizes = st.lists(st.sampled_from([16, 64, 128, 512]), min_size=1, unique=True)
    tables: dict[str, Any] = {
        "name": draw(words),
        "trials": draw(st.integers(1, 300)),
        "trainer": "vqvae.sweep:trainer",
        "objective": {"metric": draw(st.sampled_from(["val/ssim", "val/psnr", "val/loss"]))},
        "trial": {
            "data": {"root": "set", "cache": "../cache"},
            "model": {"width": 2 * draw(st.integers(1, 64)), "stride": 4},
            "training": {"epochs": draw(_epochs), "batch_size": draw(st.integers(1, 2))},
        },
        "space": {"training.learning_rate": rates, "model.codebook_size": draw(sizes)},
    }
    return draw(with_options(tables))


@st.composite
def cluster_tables(draw: st.DrawFn) -> dict[str, Any]:
    """A valid cluster file for this host."""
    options: dict[str, st.SearchStrategy[Any]] = {
        "workers": st.integers(0, 64),
        "threads": st.integers(0, 64),
        "jobs": st.integers(1, 100),
        "max_running_jobs": st.integers(1, 100),
        "time_limit": st.sampled_from(["30", "12:00:00", "1-00", "2-12:30", "30:00"]),
        "claim_seconds": st.floats(1, 1e6),
        "tracking": st.sampled_from(["https://mlflow.example.org", "http://127.0.0.1:5000"]),
        "cpus": st.integers(1, 64),
        "setup": st.lists(st.sampled_from(["module load cuda", "export A='b c'"]), max_size=2),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(options)), unique=True))
    return {"scheduler": "local", **{key: draw(options[key]) for key in chosen}}


@st.composite
def mutated(draw: st.DrawFn, tables: dict[str, Any]) -> dict[str, Any]:
    """Tables with one to three changes: a key is removed, renamed or added, or a value changes."""
    for _ in range(draw(st.integers(1, 3))):
        tables = json.loads(json.dumps(tables)) if _is_plain(tables) else tables
        table = tables
        while inner := [key for key, value in table.items() if isinstance(value, dict) and value]:
            if draw(st.booleans()):
                break
            table = table[draw(st.sampled_from(inner))]
        if not table:
            continue
        key = draw(st.sampled_from(sorted(table)))
        match draw(st.sampled_from(["value", "value", "key", "drop", "add", "text"])):
            case "value":
                table[key] = draw(_values_of(key))
            case "key":
                table[draw(any_text)] = table.pop(key)
            case "drop":
                del table[key]
            case "add":
                table[draw(any_text)] = draw(anything)
            case "text":
                table[key] = str(table[key]) + draw(any_text)
    return tables


def _values_of(key: str) -> st.SearchStrategy[Any]:
    """Any value; but a cache may lie anywhere, and the check would take it for a lost file."""
    return anything.filter(lambda value: key != "cache" or value != "../elsewhere")


def _is_plain(tables: dict[str, Any]) -> bool:
    try:
        json.dumps(tables)
    except (TypeError, ValueError):
        return False
    return True


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:  # noqa: PLR0911 (one for each way)
    """The bytes of a file, damaged in one of several ways."""
    at = draw(st.integers(0, max(0, len(content) - 1)))
    junk = draw(st.binary(max_size=30))
    match draw(st.sampled_from(range(9))):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + junk + content[at:]
        case 2:
            return content[:at] + junk + content[at + len(junk) :]
        case 3:
            return b"\xef\xbb\xbf" + content
        case 4:
            return content.replace(b"\n", b"\r\n")
        case 5:
            return content.decode().encode("utf-16")
        case 6:
            return content + b"\nx = " + b"[" * draw(st.sampled_from([50, 5000]))
        case 7:
            return content + b"\n" + b".".join([b"a"] * draw(st.sampled_from([50, 3000]))) + b" = 1"
        case _:
            return draw(st.sampled_from([b"", junk, content * 2, b"x = 1" + b"0" * 6000]))


def _plan(kind: str, content: bytes, *more: str, **fields: Any) -> Case:
    files: dict[str, bytes | str | None] = {FILE: content} | fields.pop("files", {})
    named = fields.pop("named", (FILE, "data folder", "cache folder", "slices in set"))
    command = fields.pop("command", "plan")
    return Case(kind, "sweeps", (command, FILE, *more), files, named=named, base="set", **fields)


@st.composite
def valid_experiments(draw: st.DrawFn) -> Case:
    tables = draw(st.one_of(tiny_tables(), vqvae_tables()))
    content = written(tables).encode()
    if draw(st.booleans()):
        content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")  # as Windows writes it
    return _plan(
        "experiment, valid", content, "--cluster", "here", expect="succeeds", output="proposals"
    )


@st.composite
def bad_experiments(draw: st.DrawFn) -> Case:
    if draw(st.booleans()):
        tables = draw(st.one_of(tiny_tables(), vqvae_tables()))
        content = written(draw(mutated(tables))).encode("utf-8", "surrogatepass")
        return _plan("experiment, mutated", content, "--cluster", "here")
    content = draw(damaged(draw(st.sampled_from(SHIPPED)).read_bytes()))
    return _plan("experiment, damaged", content, "--cluster", "here")


@st.composite
def runs(draw: st.DrawFn) -> Case:
    """`sweeps run` on a cluster to which no job can be submitted from here."""
    content = written(draw(st.one_of(tiny_tables(), tiny_tables().flatmap(mutated)))).encode()
    return _plan(
        "run, refused",
        content,
        *("--cluster", "away", "--no-watch"),
        command="run",
        expect="refused",
        named=(FILE, "cluster away"),
    )


@st.composite
def configs(draw: st.DrawFn) -> Case:
    """`vqvae evaluate` with a valid or a mutated configuration."""
    tables: dict[str, Any] = {
        "data": {"root": "set", "cache": "../cache", "on_bad_slice": "stop"},
        "model": {"width": 8, "stride": draw(st.sampled_from([2, 4, 8]))},
        "training": {"epochs": draw(_epochs), "optimizer": "adam", "seed": draw(_epochs)},
    }
    is_valid = draw(st.booleans())
    if not is_valid:
        tables = draw(mutated(tables))
    content = written(tables).encode("utf-8", "surrogatepass")
    if not is_valid and draw(st.booleans()):
        content = draw(damaged(content))
    line = ("evaluate", "--model", "../trained", "--device", "cpu", "--config", FILE)
    kind = f"configuration, {'valid' if is_valid else 'mutated'}"
    expect: Any = "succeeds" if is_valid else "either"
    return Case(kind, "vqvae", line, {FILE: content}, expect, base="set")


EXPERIMENT = written(
    {
        "name": "small",
        "trials": 3,
        "trainer": "tests.sweeps.tiny:trainer",
        "objective": {"metric": "val/score"},
        "space": {"training.batch_size": [4, 16]},
    }
).encode()


@st.composite
def valid_clusters(draw: st.DrawFn) -> Case:
    files: Any = {"experiments/clusters/given.toml": written(draw(cluster_tables())).encode()}
    return _plan(
        "cluster, valid",
        EXPERIMENT,
        *("--cluster", "given"),
        files=files,
        expect="succeeds",
        output="proposals",
    )


@st.composite
def bad_clusters(draw: st.DrawFn) -> Case:
    if draw(st.booleans()):
        tables = draw(cluster_tables())
        tables["scheduler"] = draw(st.sampled_from(["local", "slurm"]))
        more = draw(st.lists(st.sampled_from(["partition", "account", "qos", "gres", "exclude"])))
        tables |= {key: draw(any_text) for key in more}
        content, kind = written(draw(mutated(tables))).encode("utf-8", "surrogatepass"), "mutated"
    else:
        content = draw(damaged(draw(st.sampled_from(CLUSTERS)).read_bytes()))
        kind = "damaged"
    files: Any = {"experiments/clusters/given.toml": content}
    return _plan(
        f"cluster, {kind}",
        EXPERIMENT,
        *("--cluster", "given"),
        files=files,
        named=("given.toml", "cluster given"),
    )
