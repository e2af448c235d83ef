"""Commands that are imported when they are named, so that asking for help is quick.

`sweeps/cli/lazy.py` and `vqvae/cli/lazy.py` are the same file, to the letter
(`tests/test_twins.py`).
"""

import importlib
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


def _print_version(context: typer.Context, wanted: bool) -> None:
    if wanted:
        try:
            print(context.info_name, version(DISTRIBUTION))
        except PackageNotFoundError:
            print(context.info_name, "of a folder that is not installed")
        raise typer.Exit


DISTRIBUTION = "vqvae-sweeps"
"""The name under which both programs are installed."""
Version = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help="print the version and exit"
    ),
]


def no_options() -> None:
    """What an app runs before its command where it has no options of its own."""


def lazy_app(
    description: str,
    commands: Mapping[str, tuple[str, str]],
    callback: Callable[..., None] = no_options,
) -> typer.Typer:
    """An app whose commands are imported when they are named.

    Args:
        description: the help's first lines.
        commands: by name, in the order of the help: where the command is, as `module:attribute`,
            and its line in the help; a command without a line is hidden. The attribute is a
            function, or a `typer.Typer` app.
        callback: the function whose parameters are the app's own options.

    Returns:
        The app. Running it raises what importing a command's module raises.
    """

    class Group(LazyGroup):
        table = commands

    return typer.Typer(
        cls=Group,
        help=description,
        callback=callback,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,  # brackets are shown as they are written, and any width is readable
        pretty_exceptions_enable=False,
    )


_HelpFormatter = typer.Context.formatter_class  # it has no name of its own in Typer


class HelpFormatter(_HelpFormatter):  # type: ignore[misc, valid-type]
    """The help of a command as text that fits the terminal, also one of 20 columns."""

    def __init__(self, **settings: Any) -> None:
        columns = shutil.get_terminal_size().columns
        super().__init__(**settings | {"width": min(max(columns, 20), 80) - 2})

    def write_dl(self, rows: Any, *_: Any) -> None:
        """Write names and what they mean: beside each other, or, in a narrow terminal, below."""
        super().write_dl(rows, col_max=2 if self._is_narrow else 30)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """Write how the command is called: in a line, or, in a narrow terminal, a word a line."""
        if self._is_narrow:
            self.write("\n  ".join([f"{prefix or 'Usage: '}{prog}", *args.split()]) + "\n")
        else:
            super().write_usage(prog, args, prefix)

    @property
    def _is_narrow(self) -> bool:
        return bool(self.width < 60)


class HelpContext(typer.Context):
    """The context of a command, for its help."""

    formatter_class = HelpFormatter


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and help line until one of them is named."""

    context_class = HelpContext
    table: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Where each command is, and its line in the help: `commands` of `lazy_app`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in self.table.items():
            if line:  # hidden ones are neither listed nor suggested
                self.commands[name] = TyperCommand(name, help=line, short_help=line)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stub with the command's name and help line; None where there is no such command."""
        if cmd_name in self.table:
            return self.commands.get(cmd_name) or TyperCommand(cmd_name, hidden=True)
        return super().get_command(ctx, cmd_name)

    # The context's class is not public in Typer.
    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The name, the command itself in place of its stub, and the arguments after it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in self.table:
            command = load_command(name, self.table[name][0])
        return name, command, rest


def load_command(name: str, place: str) -> Any:
    """Import the command at `place`, `module:attribute`, and give it its name."""
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(module), attribute)
    app = (
        found
        if isinstance(found, typer.Typer)
        else typer.Typer(add_completion=False, rich_markup_mode=None)
    )
    if app is not found:
        app.command()(found)
    command = typer.main.get_command(app)
    command.name = name
    for each in (command, *getattr(command, "commands", {}).values()):
        each.context_class = HelpContext
        each.short_help = (each.help or "").partition("\n")[0]  # otherwise it is cut to the width
    return command
