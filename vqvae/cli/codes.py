"""`vqvae encode` and `vqvae decode`: scans to files of codes, and back."""

from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.batch import begin, collect_with_progress, refuse_failures
from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption, ScanArguments
from vqvae.cli.tables import print_decoded, print_sizes
from vqvae.files import output
from vqvae.inference.tasks import CODED, SCANS, plan_tasks


def encode(
    inputs: ScanArguments,
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="folder for the files of codes")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Encode scans to files of codes (.vqc), a fraction of their size.

    A table compares the size of each file with that of the scan as .nii.gz.
    """
    from vqvae.inference.compress import coded_name, encode_all

    plan = plan_tasks(inputs, out, SCANS, coded_name)
    codec = begin(plan, model, device.value)
    with output(out):
        encoded = collect_with_progress(encode_all(codec, plan.tasks), plan, "encoding")
    print_sizes(encoded.done, out)
    refuse_failures(encoded)


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
    from vqvae.inference.compress import decode_all, scan_name

    plan = plan_tasks(inputs, out, CODED, scan_name)
    codec = begin(plan, model, device.value)
    with output(out):
        decoded = collect_with_progress(decode_all(codec, plan.tasks), plan, "decoding")
    print_decoded([row.target for row in decoded.done], out)
    refuse_failures(decoded)
