"""Options and arguments that several commands have."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class DeviceChoice(str, Enum):  # noqa: UP042 (Typer shows a StrEnum's members alike; mypy does not)
    """The device to compute on; `auto` is a CUDA GPU if torch finds one, else the CPU."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="folder of a training or of a sweep's trial, sweep:number or sweep:best, checkpoint "
        "file such as best.pt, folder of a package, or URI such as models:/name@alias",
    ),
]
DeviceOption = Annotated[
    DeviceChoice,
    typer.Option("--device", help="device to compute on; auto: a CUDA GPU if there is one"),
]
ScanArguments = Annotated[
    list[Path], typer.Argument(help="NIfTI slices or volumes (.nii, .nii.gz), or folders of them")
]
