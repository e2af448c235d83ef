"""`vqvae data`: create, import and check data sets."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from vqvae.cli.data_import import import_
from vqvae.config import PhantomConfig
from vqvae.data.importing.survey import PERCENTILES, SplitSurvey, survey
from vqvae.data.phantom.dataset import write_phantom
from vqvae.errors import InputError
from vqvae.tables import Column, FittingTable, output_console
from vqvae.text import count, one_line, printable

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Create, import and check data sets.",
)

_DEFAULT = PhantomConfig()


@app.command()
def phantom(  # noqa: PLR0913, PLR0917 (a parameter is an option)
    out: Annotated[Path, typer.Argument(help="folder of the data set; it must not exist yet")],
    train_patients: Annotated[
        int, typer.Option(help="patients to train on (1 to 400)")
    ] = _DEFAULT.train_patients,
    validate_patients: Annotated[
        int, typer.Option(help="patients to validate on (1 to 400)")
    ] = _DEFAULT.validate_patients,
    test_patients: Annotated[
        int, typer.Option(help="patients to test on (1 to 400)")
    ] = _DEFAULT.test_patients,
    volumes: Annotated[
        int, typer.Option(help="volumes of each patient (1 to 52)")
    ] = _DEFAULT.volumes,
    slices: Annotated[int, typer.Option(help="slices of each volume (1 to 400)")] = _DEFAULT.slices,
    height: Annotated[
        int, typer.Option(help="pixels from right to left (multiple of 8, 32 to 1024)")
    ] = _DEFAULT.height,
    width: Annotated[
        int, typer.Option(help="pixels from back to front (multiple of 8, 32 to 1024)")
    ] = _DEFAULT.width,
    seed: Annotated[
        int, typer.Option(help="seed of the random numbers; the same seed gives the same files")
    ] = _DEFAULT.seed,
) -> None:
    """Write a phantom: synthetic scans of the male pelvis, with segmentations."""
    try:
        config = PhantomConfig(
            train_patients=train_patients,
            validate_patients=validate_patients,
            test_patients=test_patients,
            volumes=volumes,
            slices=slices,
            height=height,
            width=width,
            seed=seed,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise InputError(f"--{option} {first['input']}: {first['msg'].lower()}") from error
    write_phantom(config, out)
    patients = train_patients + validate_patients + test_patients
    print(printable(f"{out}: {patients * volumes * slices} slices of {patients} patients"))


app.command(name="import")(import_)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="folder of the data set")]) -> None:
    """Read every slice of a data set; print a table of its content, and all problems."""
    result = survey(folder)
    percentiles = ["max" if p == 100 else f"p{p:g}" for p in PERCENTILES]
    counts = ("slices", "segmented", "volumes", "patients")
    headings = ("split", *counts, "shapes", "types", *percentiles)
    rows = [(split, *_cells(found)) for split, found in result.splits.items()]
    columns = [
        Column(heading, [row[at] for row in rows], "right" if heading in percentiles else "left")
        for at, heading in enumerate(headings)
    ]
    caption = "p: percentiles of the intensities in a slice, as medians over the split"
    if rows:
        output_console().print(FittingTable(str(folder), [columns], caption))
    for line in (*result.oddities, *result.problems):
        print(one_line(line))
    if result.problems:
        raise InputError(f"{folder}: {count(len(result.problems), 'problem')} (listed above)")


def _cells(found: SplitSurvey) -> list[str]:
    shapes = [f"{'x'.join(map(str, shape))}: {n}" for shape, n in sorted(found.shapes.items())]
    types = [f"{dtype}: {n}" for dtype, n in sorted(found.dtypes.items())]
    counts = [str(found.slices), str(found.segmented), str(found.volumes), str(found.patients)]
    percentiles = [f"{value:.4g}" for value in found.percentiles] or [""] * len(PERCENTILES)
    return [*counts, "\n".join(shapes), "\n".join(types), *percentiles]
