"""The reference pages, made from the classes that check the files and from the commands.

`python -m docs.reference` writes them; `tests/test_reference.py` checks that they are up to date.
"""

import importlib
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sweeps.cli.lazy import load_command
from sweeps.config.cluster import Cluster
from sweeps.config.experiment import Experiment
from sweeps.config.space import Range
from vqvae.config import Config

FOLDER = Path(__file__).parent
NOTE = "<!-- Written by `python -m docs.reference`: change the classes, not this page. -->"
WORDS = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "`true` or `false`",
    Path: "path",
    Any: "any",
}
BOUNDS = {"ge": "at least {}", "gt": "above {}", "le": "at most {}", "lt": "below {}"}
BOUNDS |= {"multiple_of": "a multiple of {}", "min_length": "at least {} entry"}

EXPERIMENT = """\
# The experiment file

An experiment is a TOML file in `experiments/` that says what to try
([`quickstart.toml`](../experiments/quickstart.toml) is one). An unknown key, a wrong type and a
value that is not allowed are errors before anything is submitted: one line, with exit status 2.
**required** means that the key has no default.
"""
RANGES = """\
## Entries of `[space]`

Each key is the dotted path of a field of `[trial]`, in quotes. Its value has one of three forms:

```toml
[space]
"training.optimizer" = ["adam", "sgd"]                            # a list of choices
"training.warmup" = { low = 0.0, high = 0.2 }                     # a range

[space."training.learning_rate"]                                  # a range for each choice
depends_on = "training.optimizer"
cases.adam = { low = 3e-4, high = 1e-2, log = true }
cases.sgd = { low = 1e-2, high = 2e-1, log = true }
```

A range has these keys:
"""
CLUSTER = """\
# The cluster file

A cluster is a TOML file in `experiments/clusters/` that says where jobs run, how many, and with
which resources. [`generic.toml`](../experiments/clusters/generic.toml) is one to copy;
[Other clusters](slurm.md) has the steps. Memory is never requested. **required** means that the key
has no default.
"""
VQVAE = """\
# The VQ-VAE's configuration

These are the tables that `vqvae train` reads, and the tables under `[trial]` of an experiment whose
trainer is `vqvae.sweep:trainer`: `[data]` is then `[trial.data]`. Each field can be searched, by
its dotted path in `[space]`, such as `"model.codebook_size"`. Another trainer
has tables of its own.
"""
COMMANDS = """\
# Commands

Each command with what can be given to it, as `--help` prints it. After `make sweep` or
`make install` the programs are in `.venv/bin`. The exit status is 0 for success, 1 if the work
failed, and 2 if the input or the command line is wrong.
"""


def pages() -> dict[str, str]:
    """The content of each page, by its name."""
    return {
        "reference-experiment.md": _page(EXPERIMENT, *_tables(Experiment), RANGES, _table(Range)),
        "reference-cluster.md": _page(CLUSTER, *_tables(Cluster)),
        "reference-vqvae.md": _page(VQVAE, *_tables(Config)),
        "commands.md": _page(COMMANDS, *_commands("sweeps"), *_commands("vqvae")),
    }


def _page(title: str, *parts: str) -> str:
    return "\n".join([f"{NOTE}\n\n{title}", *parts])


def _tables(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """A section for each table of the file: first the keys outside any table."""
    inner = {name: table for name, field in model.model_fields.items() if (table := _model(field))}
    if len(inner) < len(model.model_fields):
        heading = f"## `[{path}]`\n\n{_about(model)}\n" if path else "## Keys outside any table\n"
        yield f"{heading}\n{_table(model)}"
    for name, table in inner.items():
        yield from _tables(table, f"{path}.{name}" if path else name)


def _about(model: type[BaseModel]) -> str:
    return "\n".join(line.strip() for line in (model.__doc__ or "").strip().splitlines())


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The class of a key that is a table; None if it is none."""
    kinds = (field.annotation, *get_args(field.annotation))
    found = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(found, None)


def _table(model: type[BaseModel]) -> str:
    """The keys of a table that are no tables themselves."""
    rows = [
        ("key", "type", "default", "allowed", "meaning"),
        ("---",) * 5,
        *(_row(name, field) for name, field in model.model_fields.items() if not _model(field)),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, field: FieldInfo) -> tuple[str, ...]:
    if not field.description:
        raise ValueError(f"{name} has no description")
    meaning = " ".join(field.description.split()).replace("|", "\\|")
    return f"`{name}`", _type(field.annotation), _default(field), _allowed(field), meaning


def _type(kind: Any) -> str:
    """The type of a value in plain words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "text" if isinstance(inner[0], str) else "whole number"
    if origin is list:
        return "list of tables" if get_origin(inner[0]) is dict else f"list of {_type(inner[0])}s"
    if origin is dict:
        return "table"
    if origin in {Union, types.UnionType}:
        return _type(inner[-1] if inner[-1] is not types.NoneType else inner[0])
    return WORDS[kind]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value in (None, "", [], {}):
        return ""
    return f"`{json.dumps(value if isinstance(value, int | float) else str(value))}`"


def _allowed(field: FieldInfo) -> str:
    """The values that are allowed, as far as the class says so itself."""
    kinds = (field.annotation, *get_args(field.annotation))
    choices = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    if choices:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    limits = (
        text.format(getattr(limit, key))
        for limit in field.metadata
        for key, text in BOUNDS.items()
        if getattr(limit, key, None) is not None
    )
    return ", ".join(limits) or ""


def _commands(program: str) -> Iterator[str]:
    """A section for each command of a program that its help lists."""
    yield f"## {program}\n"
    for name, (place, line) in importlib.import_module(f"{program}.cli.main").COMMANDS.items():
        if line:
            command = load_command(name, place)
            inner = getattr(command, "commands", {})
            for sub in inner or [""]:
                yield _command(f"{program} {name} {sub}".strip(), inner.get(sub, command))


def _command(name: str, command: Any) -> str:
    """A section on one command: what it does, its arguments and its options."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    words = [f"[{_metavar(one)}]" if not one.required else _metavar(one) for one in arguments]
    usage = " ".join([name, *words, "[OPTIONS]"])
    about = " ".join((command.help or "").split())
    rows = [("argument or option", "default", "meaning"), ("---",) * 3]
    rows += [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows) if len(rows) > 2 else ""
    return f"### {name}\n\n{about}\n\n```text\n{usage}\n```\n\n{table}"


def _metavar(parameter: Any) -> str:
    return f"{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}"


def _parameter(parameter: Any) -> tuple[str, str, str]:
    meaning = " ".join((getattr(parameter, "help", "") or "").split()).replace("|", "\\|")
    if parameter.param_type_name == "argument":
        return f"`{_metavar(parameter)}`", "**required**" if parameter.required else "", meaning
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.required:
        return names, "**required**", meaning
    value = getattr(parameter.default, "value", parameter.default)
    known = value is not None and not callable(value) and not isinstance(value, bool)
    return names, f"`{value}`" if known and str(value) else "", meaning


def main() -> None:
    """Write the pages."""
    for name, content in pages().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
