"""`vqvae data`: make, bring in and check data sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vqvae.config import PhantomConfig
from vqvae.data.importing.convert import Imported, Options, divide, plan, write_import
from vqvae.data.importing.geometry import Axis, Fit, Size
from vqvae.data.importing.sources import Patients, find_files, group_by_patient
from vqvae.data.importing.survey import PERCENTILES, SplitSurvey, survey
from vqvae.data.layout import SPLITS, SplitName
from vqvae.data.phantom.dataset import write_phantom
from vqvae.errors import InputError
from vqvae.files import refuse_taken
from vqvae.text import one_line, printable

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Make, bring in and check data sets."
)

_DEFAULT = PhantomConfig()


@app.command()
def phantom(  # noqa: PLR0913, PLR0917 (a parameter is an option)
    out: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    train_patients: int = _DEFAULT.train_patients,
    validate_patients: int = _DEFAULT.validate_patients,
    test_patients: int = _DEFAULT.test_patients,
    volumes: Annotated[int, typer.Option(help="Volumes of each patient.")] = _DEFAULT.volumes,
    slices: Annotated[int, typer.Option(help="Slices of each volume.")] = _DEFAULT.slices,
    height: Annotated[int, typer.Option(help="Pixels from right to left.")] = _DEFAULT.height,
    width: Annotated[int, typer.Option(help="Pixels from back to front.")] = _DEFAULT.width,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = _DEFAULT.seed,
) -> None:
    """Write synthetic scans of the male pelvis, with their segmentations."""
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
    typer.echo(printable(f"{out}: {patients * volumes * slices} slices of {patients} patients"))


@app.command(name="import")
def import_(  # noqa: PLR0913, PLR0917 (a parameter is an option)
    source: Annotated[list[Path], typer.Argument(help="Files, and folders of files.")],
    out: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    patient: Annotated[
        str | None, typer.Option(help="Regular expression: its first group names the patient.")
    ] = None,
    axis: Annotated[Axis, typer.Option(help="Cut volumes across this axis.")] = Axis.AXIAL,
    size: Annotated[
        str | None, typer.Option(help="HEIGHTxWIDTH; the volumes' own if left out.")
    ] = None,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample/--crop",
            help="Come to the size by scaling the whole slice, or by cutting and padding evenly.",
        ),
    ] = False,
    split: Annotated[
        str, typer.Option(help="Shares of patients, or counts: train,validate,test.")
    ] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(min=0, help="Decides who is in which split.")] = 0,
    min_tissue: Annotated[
        float, typer.Option(min=0, max=1, help="Drop slices with a smaller share of tissue.")
    ] = 0.02,
) -> None:
    """Make a data set from volumes or slices of any study, patients kept apart."""
    refuse_taken(out)
    options = Options(
        axis=axis,
        size=Size.parse(size) if size else None,
        fit=Fit.RESAMPLE if resample else Fit.CROP,
        min_tissue=min_tissue,
    )
    patients = group_by_patient(find_files(source), patient)
    splits = divide(list(patients.files), split, seed)
    _show_patients(patients, splits)
    notes = {"pattern": patients.pattern, "split": split, "seed": seed}
    _show_imported(write_import(plan(patients, splits), out, options, notes), out)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="A data set's folder.")]) -> None:
    """Read every slice; say what is there and what is wrong."""
    result = survey(folder)
    title = escape(printable(str(folder)))
    table = Table("split", "slices", "volumes", "patients", "shapes", "types", title=title)
    for percentile in PERCENTILES:
        table.add_column("max" if percentile == 100 else f"p{percentile:g}", justify="right")
    for split, found in result.splits.items():
        table.add_row(split, *_cells(found))
    table.caption = "p: percentiles of the intensities in a slice, median over the split"
    _console().print(table)
    for line in (*result.oddities, *result.problems):
        typer.echo(one_line(line))
    if result.problems:
        count = len(result.problems)
        raise InputError(
            f"{folder}: {count} thing{'s are' if count > 1 else ' is'} wrong, named above"
        )


def _cells(found: SplitSurvey) -> list[str]:
    shapes = [f"{'x'.join(map(str, shape))}: {n}" for shape, n in sorted(found.shapes.items())]
    types = [f"{dtype}: {n}" for dtype, n in sorted(found.dtypes.items())]
    counts = [str(found.slices), str(found.volumes), str(found.patients)]
    percentiles = [f"{value:.4g}" for value in found.percentiles] or [""] * len(PERCENTILES)
    return [*counts, "\n".join(shapes), "\n".join(types), *percentiles]


def _show_patients(patients: Patients, splits: Mapping[str, SplitName]) -> None:
    how = "guessed" if patients.guessed else "as given"
    files = sum(map(len, patients.files.values()))
    typer.echo(printable(f"patient pattern ({how}): {patients.pattern}"))
    typer.echo(f"{files} files of {len(patients.files)} patients")
    cases = patients.cases()
    for split in SPLITS:
        names = [name for name, owner in splits.items() if owner == split]
        shown = ", ".join(f"{name} (case {cases[name]:03})" for name in names)
        typer.echo(printable(f"  {split}: {shown}"))


def _show_imported(results: tuple[Imported, ...], out: Path) -> None:
    for split in SPLITS:
        mine = [result for result in results if result.volume.split == split]
        kept, dropped = sum(result.kept for result in mine), sum(result.dropped for result in mine)
        typer.echo(
            f"{split}: {kept} slices of {len(mine)} volumes; {dropped} without anatomy dropped"
        )
    typer.echo(printable(f"written to {out}; look at it with 'vqvae data check {out}'"))


def _console() -> Console:
    """As wide as the terminal; wide enough for the table in a log."""
    console = Console()
    return console if console.is_terminal else Console(width=160)
