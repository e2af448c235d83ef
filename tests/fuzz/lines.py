"""Command lines with missing sweeps, unknown options, and values that are not valid."""

from typing import Any

from hypothesis import strategies as st

from tests.fuzz.case import Case
from tests.fuzz.text import arguments, words

_BY_NAME = ("status", "watch", "stop", "sync", "promote", "models", "rollback")
_OPTIONS = {
    "sweeps": {
        "run": ("--cluster", "--trials", "--no-watch"),
        "plan": ("--cluster", "--trials", "--json"),
        "watch": (),
        "status": ("--json", "--sort"),
        "show": ("--sweep", "--json"),
        "export": ("--csv",),
        "rerun": ("--seed", "--sweep"),
        "stop": (),
        "sync": ("--rebuild", "--take-over"),
        "promote": ("--trial", "--cluster", "--dry-run", "--force"),
        "models": ("--json",),
        "rollback": (),
        "ui": ("--port",),
    },
    "vqvae": {
        "train": ("--out", "--threads"),
        "evaluate": ("--model", "--split", "--data", "--config", "--device", "--json"),
        "reconstruct": ("--model", "--out", "--device"),
        "encode": ("--model", "--out"),
        "decode": ("--model", "--out"),
        "data": ("check", "import", "phantom", "--size", "--split", "--patient", "--seed"),
    },
}


@st.composite
def missing_sweeps(draw: st.DrawFn) -> Case:
    """A command about a sweep that does not exist."""
    name = draw(arguments.filter(lambda t: t not in {"tiny", "--help"}))
    command = draw(st.sampled_from(_BY_NAME))
    return Case(f"{command}, bad name", "sweeps", (command, "--", name), expect="refused")


@st.composite
def existing_sweeps(draw: st.DrawFn) -> Case:
    """A command about the sweep that exists."""
    command = draw(st.sampled_from(["status", "watch", "stop"]))
    return Case(f"{command}, valid", "sweeps", (command, "tiny"), expect="succeeds")


@st.composite
def wrong(draw: st.DrawFn) -> Case:
    """A command line of words in any order, with an option that no command has."""
    program: Any = draw(st.sampled_from(["sweeps", "vqvae"]))
    command = draw(st.sampled_from([*_OPTIONS[program], "nothing"]))
    options = _OPTIONS[program].get(command, ())
    word = st.one_of(arguments, words, st.sampled_from(["--nothing", "-x", *options]))
    line = (command, *draw(st.lists(word, min_size=1, max_size=5)))
    kind = f"{program} command line"
    # First: after an option with a value it would be that value.
    line = (line[0], "--no-such-option", *line[1:])
    return Case(kind, program, line, expect="refused")


@st.composite
def values(draw: st.DrawFn) -> Case:
    """A valid command of `sweeps` with a hostile value."""
    value = draw(arguments.filter(lambda t: t != "--help"))
    line: tuple[str, ...] = draw(
        st.sampled_from(
            [
                ("plan", "given.toml", "--trials", value),
                ("plan", "given.toml", "--cluster", value),
                ("plan", f"{value}.toml"),
                ("run", f"{value}.toml", "--no-watch"),
                ("status", "--runs", f"{value}/x"),
                ("models", "--runs", f"x/{value}"),
                ("show", "--sweep", value, "--", "0"),
                ("show", "--", value),
                ("status", "tiny", "--sort", value),
            ]
        )
    )
    return Case("sweeps option values", "sweeps", line)


@st.composite
def model_values(draw: st.DrawFn) -> Case:
    """A valid command of `vqvae` with a hostile value."""
    value = draw(arguments.filter(lambda t: not t.startswith("-") and t not in {"", "."}))
    line: tuple[str, ...] = draw(
        st.sampled_from(
            [
                ("reconstruct", "in", "--model", value, "--out", "out"),
                ("reconstruct", "in", "--model", f"models:/{value}", "--out", "out"),
                ("reconstruct", "in", "--model", f"tiny:{value}", "--out", "out"),
                ("reconstruct", f"{value}/x.nii", "--model", "../trained", "--out", "out"),
                ("decode", value, "--model", "../trained", "--out", "out"),
                ("evaluate", "--model", value, "--config", value),
                ("evaluate", "--model", "../trained", "--data", value),
                ("data", "check", f"x{value}"),
                ("data", "import", f"x{value}", "out"),
                ("data", "import", "volumes", "out", "--size", value),
                ("data", "import", "volumes", "out", "--split", value),
                ("data", "import", "volumes", "out", "--patient", f"({value}"),
                ("data", "phantom", "out", "--seed", f"x{value}"),
            ]
        )
    )
    return Case("vqvae option values", "vqvae", line, expect="refused", base="volumes")
