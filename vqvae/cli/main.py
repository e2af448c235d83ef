"""The command line of `vqvae`. Importing this module is quick, and so is `--help`.

Exit status: 0 done, 1 the work failed, 2 the input or the command line is wrong.
"""

import sys
from typing import Annotated

import typer

from vqvae.cli.exit import run_and_exit
from vqvae.cli.lazy import Version, lazy_app

COMMANDS = {
    "train": (
        "vqvae.cli.train:train",
        "Train a model, or resume a training that was interrupted.",
    ),
    "evaluate": (
        "vqvae.cli.evaluate:evaluate",
        "Score a model on a split: SSIM, PSNR, NMSE, bits per pixel, use of the codebook.",
    ),
    "reconstruct": (
        "vqvae.cli.reconstruct:reconstruct",
        "Encode and decode scans; write reconstructions, figures and scores.",
    ),
    "encode": (
        "vqvae.cli.codes:encode",
        "Encode scans to files of codes (.vqc), a fraction of their size.",
    ),
    "decode": (
        "vqvae.cli.codes:decode",
        "Decode files of codes (.vqc) to NIfTI scans.",
    ),
    "data": ("vqvae.cli.data:app", "Create, import and check data sets."),
}
"""The module and function of each command, and its line in the help."""


def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="show the full traceback of an error")
    ] = False,
    version: Version = False,
) -> None:
    """Do nothing; this lists the option in the help, and `run_and_exit` handles it."""


app = lazy_app(
    "A VQ-VAE for 2-D MRI slices: train it, score it, compress scans with it.", COMMANDS, options
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end this process; see `vqvae.cli.exit` for the exit status.

    Args:
        arguments: the command line; by default that of this process.
    """
    run_and_exit("vqvae", app, sys.argv[1:] if arguments is None else arguments)
