"""The command line. Importing this module is light, so that asking for help is quick.

Exit status: 0 done, 1 the work failed, 2 the input or the command line is wrong.
"""

import sys
from typing import Annotated

import typer

from vqvae.cli.exit import run_and_exit
from vqvae.cli.lazy import lazy_app

COMMANDS = {
    "train": (
        "vqvae.cli.train:train",
        "Train a model, or go on with a training that was interrupted.",
    ),
    "evaluate": (
        "vqvae.cli.evaluate:evaluate",
        "Score a model on a split by the main protocol, with other conventions beside it.",
    ),
    "reconstruct": (
        "vqvae.cli.reconstruct:reconstruct",
        "Reconstruct scans: NIfTI with the geometry and intensities of the input, and a figure.",
    ),
    "encode": (
        "vqvae.cli.codes:encode",
        "Encode scans: a file of codes for each, from which 'decode' gives its reconstruction.",
    ),
    "decode": (
        "vqvae.cli.codes:decode",
        "Decode files of codes: NIfTI, bit for bit what 'reconstruct' gives for the same scan.",
    ),
    "data": ("vqvae.cli.data:app", "Make, bring in and check data sets."),
}
"""Where each command is, and its line in the help."""


def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Show the option in the help; `run_and_exit` takes it out of the command line."""


app = lazy_app(
    "A VQ-VAE of 2-D MRI slices: train it, score it, reconstruct scans with it.", COMMANDS, options
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end this process; see `vqvae.cli.exit` for the exit status.

    Args:
        arguments: the command line; that of this process if left out.
    """
    run_and_exit("vqvae", app, sys.argv[1:] if arguments is None else arguments)
