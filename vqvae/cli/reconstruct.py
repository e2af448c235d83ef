"""`vqvae reconstruct`: encode and decode scans, and score the result."""

from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption, ScanArguments
from vqvae.cli.progress_bar import collect_with_progress, refuse_failures
from vqvae.cli.tables import print_scores
from vqvae.files import output
from vqvae.text import printable


def reconstruct(
    inputs: ScanArguments,
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="folder for the reconstructions")],
    device: DeviceOption = DeviceChoice.auto,
) -> None:
    """Encode and decode scans; write reconstructions, figures and scores.

    For each scan it writes a NIfTI file with the geometry and intensities of the
    scan, and a PNG that compares the two. The scores are in scores.csv.
    """
    from vqvae.device import choose_device
    from vqvae.inference.load import open_model
    from vqvae.inference.reconstruct import plan_jobs, write_table
    from vqvae.inference.reconstruct import reconstruct as reconstruct_all

    jobs = plan_jobs(inputs, out)
    codec, _ = open_model(model, choose_device(device.value))
    with output(out):
        scores = collect_with_progress(reconstruct_all(codec, jobs), len(jobs), "reconstructing")
        print_scores(scores.done)
        if scores.done:
            print(printable(f"scores: {write_table(scores.done, out)}"))
    refuse_failures(scores.failed, len(jobs), "scans could not be reconstructed")
