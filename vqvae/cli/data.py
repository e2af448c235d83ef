"""`vqvae data`: create, import and check data sets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from vqvae.config import PhantomConfig
from vqvae.data.importing.convert import Imported, Options, divide, plan, write_import
from vqvae.data.importing.geometry import Axis, Fit, Size
from vqvae.data.importing.sources import Patients, find_files, group_by_patient
from vqvae.data.importing.survey import PERCENTILES, SplitSurvey, survey
from vqvae.data.layout import SPLITS, SplitName
from vqvae.data.phantom.dataset import write_phantom
from vqvae.errors import InputError
from vqvae.files import refuse_taken
from vqvae.tables import Column, FittingTable, output_console
from vqvae.text import one_line, printable

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


@app.command(name="import")
def import_(  # noqa: PLR0913, PLR0917 (a parameter is an option)
    source: Annotated[list[Path], typer.Argument(help="NIfTI volumes or slices, or folders")],
    out: Annotated[Path, typer.Argument(help="folder of the data set; it must not exist yet")],
    patient: Annotated[
        str | None,
        typer.Option(
            help="regular expression for the path below SOURCE; its first group is the patient's "
            "name (default: guessed)"
        ),
    ] = None,
    axis: Annotated[
        Axis, typer.Option(help="orientation of the slices that volumes are cut into")
    ] = Axis.AXIAL,
    size: Annotated[
        str | None,
        typer.Option(help="HEIGHTxWIDTH of all slices in pixels (default: as in each volume)"),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample/--crop",
            help="with --size: scale whole slices, or crop and pad them around their centre",
        ),
    ] = False,
    split: Annotated[
        str,
        typer.Option(help="patients in train,validate,test: fractions, or counts as in 20,4,3"),
    ] = "0.7,0.15,0.15",
    seed: Annotated[
        int, typer.Option(min=0, help="seed of the random assignment of patients to splits")
    ] = 0,
    min_tissue: Annotated[
        float,
        typer.Option(min=0, max=1, help="leave out slices with a smaller share of tissue pixels"),
    ] = 0.02,
) -> None:
    """Convert scans of any study to a data set; each patient is in one split only."""
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
def check(folder: Annotated[Path, typer.Argument(help="folder of the data set")]) -> None:
    """Read every slice of a data set; print a table of its content, and all problems."""
    result = survey(folder)
    percentiles = ["max" if p == 100 else f"p{p:g}" for p in PERCENTILES]
    headings = ("split", "slices", "volumes", "patients", "shapes", "types", *percentiles)
    rows = [(split, *_cells(found)) for split, found in result.splits.items()]
    columns = [
        Column(heading, cells, "right" if heading in percentiles else "left")
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    caption = "p: percentiles of the intensities in a slice, as medians over the split"
    output_console().print(FittingTable(str(folder), [columns], caption))
    for line in (*result.oddities, *result.problems):
        print(one_line(line))
    if result.problems:
        count = len(result.problems)
        raise InputError(f"{folder}: {count} problem{'s' if count > 1 else ''} (listed above)")


def _cells(found: SplitSurvey) -> list[str]:
    shapes = [f"{'x'.join(map(str, shape))}: {n}" for shape, n in sorted(found.shapes.items())]
    types = [f"{dtype}: {n}" for dtype, n in sorted(found.dtypes.items())]
    counts = [str(found.slices), str(found.volumes), str(found.patients)]
    percentiles = [f"{value:.4g}" for value in found.percentiles] or [""] * len(PERCENTILES)
    return [*counts, "\n".join(shapes), "\n".join(types), *percentiles]


def _show_patients(patients: Patients, splits: Mapping[str, SplitName]) -> None:
    origin = "guessed" if patients.guessed else "given"
    files = sum(map(len, patients.files.values()))
    print(printable(f"patient pattern ({origin}): {patients.pattern}"))
    print(f"{files} files of {len(patients.files)} patients")
    cases = patients.cases()
    for split in SPLITS:
        names = [name for name, assigned in splits.items() if assigned == split]
        shown = ", ".join(f"{name} (case {cases[name]:03})" for name in names)
        print(printable(f"  {split}: {shown}"))


def _show_imported(results: tuple[Imported, ...], out: Path) -> None:
    for split in SPLITS:
        of_split = [result for result in results if result.volume.split == split]
        kept = sum(result.kept for result in of_split)
        dropped = sum(result.dropped for result in of_split)
        print(
            f"{split}: {kept} slices of {len(of_split)} volumes; "
            f"{dropped} with too little tissue left out"
        )
    print(printable(f"written to {out}; check it with 'vqvae data check {out}'"))
