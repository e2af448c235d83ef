"""`vqvae reconstruct`: encode and decode scans, and score the result."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vqvae.cli.batch import Outcome, begin, collect_with_progress, refuse_failures
from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption, ScanArguments
from vqvae.cli.tables import print_scores
from vqvae.files import output
from vqvae.inference.tasks import SCANS, Failed, plan_tasks
from vqvae.text import printable

if TYPE_CHECKING:
    from vqvae.inference.reconstruct import Reconstructed


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
    from vqvae.inference.reconstruct import reconstruct as reconstruct_all

    plan = plan_tasks(inputs, out, SCANS, lambda name: name)
    codec = begin(plan, model, device.value)
    with output(out):
        found = collect_with_progress(reconstruct_all(codec, plan.tasks), plan, "reconstructing")
        if found.done:
            _show(found, out)
    refuse_failures(found)


def _show(found: "Outcome[Reconstructed]", out: Path) -> None:
    """Write all scores to a table and print a summary; print them all if they cannot be written."""
    from vqvae.inference.reconstruct import TABLE, write_table

    try:
        write_table(found.done, out)
    except OSError as error:
        print_scores(found.done, out, all_rows=True)
        reason = f"{out / TABLE} cannot be written ({error.strerror or error})"
        found.failed.append(Failed(f"{reason}; all scores are in the table above"))
        found.total += 1
    else:
        print_scores(found.done, out)
        print(printable(f"scores: {out / TABLE}"))
