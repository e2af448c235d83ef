"""`vqvae encode` and `vqvae decode`: scans to files of codes, and back."""

from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption, ScanArguments
from vqvae.cli.progress_bar import collect_with_progress, refuse_failures
from vqvae.cli.tables import print_sizes
from vqvae.files import output
from vqvae.inference.tasks import CODED, SCANS, plan_tasks
from vqvae.text import printable


def encode(
    inputs: ScanArguments,
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="folder for the files of codes")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Encode scans to files of codes (.vqc), a fraction of their size.

    A table compares the size of each file with that of the scan as .nii.gz.
    """
    from vqvae.device import choose_device
    from vqvae.inference.compress import coded_name, encode_all
    from vqvae.inference.load import open_model

    tasks = plan_tasks(inputs, out, SCANS, coded_name)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        encoded = collect_with_progress(encode_all(codec, tasks), len(tasks), "encoding")
    print_sizes(encoded.done)
    refuse_failures(encoded.failed, len(tasks), "scans could not be encoded")


def decode(
    inputs: Annotated[list[Path], typer.Argument(help="files of codes (.vqc), or folders of them")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="folder for the decoded scans")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Decode files of codes (.vqc) to NIfTI scans.

    The model must be the one that encoded them. The scans are those that
    'reconstruct' writes, bit for bit on the same host.
    """
    from vqvae.device import choose_device
    from vqvae.inference.compress import decode_all, scan_name
    from vqvae.inference.load import open_model

    tasks = plan_tasks(inputs, out, CODED, scan_name)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        decoded = collect_with_progress(decode_all(codec, tasks), len(tasks), "decoding")
    for row in decoded.done:
        print(printable(f"{row.target}"))
    refuse_failures(decoded.failed, len(tasks), "files could not be decoded")
