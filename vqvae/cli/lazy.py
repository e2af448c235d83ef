"""Commands that are imported when they are named, so that asking for help is quick.

`sweeps/cli/lazy.py` and `vqvae/cli/lazy.py` are the same file, to the letter
(`tests/test_twins.py`).
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


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
        add_completion=False,
        rich_markup_mode=None,  # brackets are shown as they are written, and any width is readable
        pretty_exceptions_enable=False,
    )


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and help line until one of them is named."""

    table: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Where each command is, and its line in the help: `commands` of `lazy_app`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, line) in self.table.items():
            if line:  # hidden ones are neither listed nor suggested
                self.commands[name] = TyperCommand(name, help=line)

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
    return command
