"""The command line: train, evaluate, reconstruct, encode, decode, and the data they need.

Exit status: 0 done, 1 the work failed, 2 the input or the command line is wrong. Importing this
module is light, so that asking for help is quick.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqvae.cli.exit import print_error
from vqvae.config import read_config
from vqvae.errors import InputError
from vqvae.files import make_writable, output
from vqvae.text import one_line, printable

if TYPE_CHECKING:
    from vqvae.inference.tasks import Failed

ModelOption = Annotated[
    str,
    typer.Option(
        "--model",
        help="a training's folder, a checkpoint such as best.pt, a package's folder, "
        "or a URI such as models:/name@alias",
    ),
]


class SplitChoice(str, Enum):  # noqa: UP042 - Typer shows a StrEnum's members alike; mypy does not
    """The splits of a data set."""

    train = "train"
    validate = "validate"
    test = "test"


class DeviceChoice(str, Enum):  # noqa: UP042
    """Where to compute; `auto` takes a GPU if there is one."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


DeviceOption = Annotated[DeviceChoice, typer.Option("--device", help="where to compute")]


def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """A VQ-VAE of 2-D MRI slices: train it, score it, reconstruct scans with it."""


def train(
    config: Annotated[Path, typer.Argument(help="TOML with [data], [model] and [training]")],
    out: Annotated[Path, typer.Option("--out", help="the folder for last.pt and best.pt")],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; all cores if left out")
    ] = None,
) -> None:
    """Train a model, or go on with a training that was interrupted."""
    settings = read_config(config)
    from vqvae.cli.progress_bar import watch  # noqa: PLC0415 - torch and rich are not light
    from vqvae.sweep import trainer  # noqa: PLC0415
    from vqvae.training.loop import fit  # noqa: PLC0415

    make_writable(out)
    trainer.prepare([settings])
    threads = threads or len(os.sched_getaffinity(0))
    # Said because it is needed to get the same bits again.
    typer.echo(f"CPU threads: {threads}")
    rows = fit(settings, out, threads=threads)
    last = watch(rows, settings.training.epochs)
    if last.diverged:
        raise RuntimeError(f"training ended early: {last.diverged}")
    typer.echo(printable(f"best model: {out / 'best.pt'}"))


def evaluate(
    model: ModelOption,
    split: Annotated[SplitChoice, typer.Option(help="which split to score")] = SplitChoice.validate,
    config: Annotated[
        Path | None, typer.Option(help="TOML whose [data] to use, not the model's own")
    ] = None,
    device: DeviceOption = DeviceChoice.auto,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score a model on a split by the main protocol, with other conventions beside it."""
    from vqvae.cli.progress_bar import print_evaluation  # noqa: PLC0415
    from vqvae.device import choose_device  # noqa: PLC0415
    from vqvae.evaluation.evaluate import evaluate as score  # noqa: PLC0415
    from vqvae.inference.load import open_model  # noqa: PLC0415

    codec, trained = open_model(model, choose_device(device.value))
    data = trained if config is None else read_config(config)
    if data is None:
        raise InputError(f"{model}: a package does not say where its data are; give --config")
    found = score(codec, data, split.value)
    if as_json:
        typer.echo(json.dumps(found.plain(), indent=2))
    else:
        print_evaluation(found)


def reconstruct(
    inputs: Annotated[list[Path], typer.Argument(help="NIfTI slices or volumes, or folders")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="where reconstructions go")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Reconstruct scans: NIfTI with the geometry and intensities of the input, and a picture."""
    from vqvae.cli.progress_bar import followed, print_scores  # noqa: PLC0415
    from vqvae.device import choose_device  # noqa: PLC0415
    from vqvae.inference.load import open_model  # noqa: PLC0415
    from vqvae.inference.reconstruct import plan_jobs, write_table  # noqa: PLC0415
    from vqvae.inference.reconstruct import reconstruct as run  # noqa: PLC0415

    jobs = plan_jobs(inputs, out)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        scores = followed(run(codec, jobs), len(jobs), "reconstructing")
        print_scores(scores.done)
        if scores.done:
            typer.echo(printable(f"scores: {write_table(scores.done, out)}"))
    _print_failures(scores.failed, len(jobs), "scans could not be reconstructed")


def encode(
    inputs: Annotated[list[Path], typer.Argument(help="NIfTI slices or volumes, or folders")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="where files of codes go")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Encode scans: a file of codes for each, from which 'decode' gives its reconstruction."""
    from vqvae.cli.progress_bar import followed, print_sizes  # noqa: PLC0415
    from vqvae.device import choose_device  # noqa: PLC0415
    from vqvae.inference.compress import coded_name, encode_all  # noqa: PLC0415
    from vqvae.inference.load import open_model  # noqa: PLC0415
    from vqvae.inference.tasks import SCANS, plan_tasks  # noqa: PLC0415

    tasks = plan_tasks(inputs, out, SCANS, coded_name)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        done = followed(encode_all(codec, tasks), len(tasks), "encoding")
    print_sizes(done.done)
    _print_failures(done.failed, len(tasks), "scans could not be encoded")


def decode(
    inputs: Annotated[list[Path], typer.Argument(help="files of codes (.vqc), or folders")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="where scans go")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Decode files of codes: NIfTI, bit for bit what 'reconstruct' gives for the same scan."""
    from vqvae.cli.progress_bar import followed  # noqa: PLC0415
    from vqvae.device import choose_device  # noqa: PLC0415
    from vqvae.inference.compress import decode_all, scan_name  # noqa: PLC0415
    from vqvae.inference.load import open_model  # noqa: PLC0415
    from vqvae.inference.tasks import CODED, plan_tasks  # noqa: PLC0415

    tasks = plan_tasks(inputs, out, CODED, scan_name)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        done = followed(decode_all(codec, tasks), len(tasks), "decoding")
    for row in done.done:
        typer.echo(printable(f"{row.target}"))
    _print_failures(done.failed, len(tasks), "files could not be decoded")


def _print_failures(failed: "Sequence[Failed]", number: int, what: str) -> None:
    """Name what failed, a line each.

    Raises:
        InputError: something did.
    """
    if len(failed) == number == 1:
        raise InputError(failed[0].reason)
    for one in failed:
        typer.echo(one_line(one.reason), err=True)
    if failed:
        raise InputError(f"{len(failed)} of {number} {what}, named above")


def command_line(words: Sequence[str]) -> typer.Typer:
    """The commands. Those for data import numpy and more: they come when they are named."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        callback=options,
    )
    for command in (train, evaluate, reconstruct, encode, decode):
        app.command()(command)
    data = typer.Typer()
    if "data" in words:
        from vqvae.cli.data import app as data  # noqa: PLC0415
    app.add_typer(data, name="data", help="Make, bring in and check data sets.")
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; one line, not a traceback, for a person whose input is wrong."""
    given = sys.argv[1:] if arguments is None else arguments
    # Taken wherever it stands: people add it at the end of the command that has just failed.
    rest = [argument for argument in given if argument != "--debug"]
    try:
        status = command_line(rest)(rest, prog_name="vqvae", standalone_mode=False) or 0
    except Exception as error:  # noqa: BLE001 - the boundary to the person
        if len(rest) < len(given):
            traceback.print_exc()
        status = print_error(error)
    sys.exit(status)
