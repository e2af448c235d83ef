"""Options that several commands have."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class DeviceChoice(str, Enum):  # noqa: UP042 (Typer shows a StrEnum's members alike; mypy does not)
    """Where to compute; `auto` takes a GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="a training's folder, a checkpoint such as best.pt, a package's folder, "
        "or a URI such as models:/name@alias",
    ),
]
DeviceOption = Annotated[DeviceChoice, typer.Option("--device", help="where to compute")]
ScanArguments = Annotated[list[Path], typer.Argument(help="NIfTI slices or volumes, or folders")]
