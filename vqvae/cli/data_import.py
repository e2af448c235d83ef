"""`vqvae data import`: scans of any study to a data set."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vqvae.data.importing.convert import BadVolumesError, write_import
from vqvae.data.importing.geometry import Axis, Fit, Size
from vqvae.data.importing.plan import LabelMaps, Plan, Request, plan_import
from vqvae.data.importing.record import Options, Result
from vqvae.data.layout import SPLITS
from vqvae.data.segmentations import ORGANS, relabelling
from vqvae.errors import InputError
from vqvae.files import refuse_taken
from vqvae.text import count, one_line, printable


class OnBad(StrEnum):
    """What happens at a file that cannot be imported."""

    STOP = "stop"
    SKIP = "skip"


class NotFinite(StrEnum):
    """What happens at pixels that are NaN or infinite."""

    STOP = "stop"
    BACKGROUND = "background"


SourceArguments = Annotated[
    list[Path], typer.Argument(help="NIfTI volumes or slices, or folders of them")
]
OutArgument = Annotated[Path, typer.Argument(help="folder of the data set; it must not exist yet")]
PatientOption = Annotated[
    str | None,
    typer.Option(
        help="regular expression for the path below SOURCE; its first group is the patient's name "
        "(default: guessed)"
    ),
]
AxisOption = Annotated[
    Axis, typer.Option(help="orientation of the slices that volumes are cut into")
]
SizeOption = Annotated[
    str | None,
    typer.Option(help="HEIGHTxWIDTH of all slices in pixels (default: as in each volume)"),
]
ResampleOption = Annotated[
    bool,
    typer.Option(
        "--resample/--crop",
        help="with --size: scale whole slices, or crop and pad them around their centre",
    ),
]
SplitOption = Annotated[
    str, typer.Option(help="patients in train,validate,test: fractions, or counts as in 20,4,3")
]
SeedOption = Annotated[
    int, typer.Option(min=0, help="seed of the random assignment of patients to splits")
]
TissueOption = Annotated[
    float,
    typer.Option(min=0, max=1, help="leave out slices with a smaller share of tissue pixels"),
]
LabelsOption = Annotated[
    LabelMaps,
    typer.Option(
        help="label maps: leave them out, import them as the segmentations of their scans, or take "
        "them for scans as well"
    ),
]
RelabelOption = Annotated[
    str | None, typer.Option(help="with --labels import: new labels, as in 1=prostate,2=0")
]
BadOption = Annotated[
    OnBad, typer.Option(help="if files cannot be imported: write nothing, or leave them out")
]
NanOption = Annotated[
    NotFinite,
    typer.Option(
        help="pixels that are NaN or infinite: the file cannot be imported, or they get its "
        "smallest intensity"
    ),
]


def import_(  # noqa: PLR0913, PLR0917 (a parameter is an option)
    source: SourceArguments,
    out: OutArgument,
    patient: PatientOption = None,
    axis: AxisOption = Axis.AXIAL,
    size: SizeOption = None,
    resample: ResampleOption = False,
    split: SplitOption = Request.shares,
    seed: SeedOption = Request.seed,
    min_tissue: TissueOption = Options.min_tissue,
    labels: LabelsOption = LabelMaps.LEAVE_OUT,
    relabel: RelabelOption = None,
    on_bad: BadOption = OnBad.STOP,
    nan: NanOption = NotFinite.STOP,
) -> None:
    """Convert scans of any study to a data set; each patient is in one split only.

    Folders are searched through links; hidden files and folders are not read.
    """
    refuse_taken(out)
    if relabel is not None and labels is not LabelMaps.IMPORT:
        raise InputError("--relabel changes imported label maps; give --labels import with it")
    options = Options(
        axis=axis,
        size=Size.parse(size) if size else None,
        fit=Fit.RESAMPLE if resample else Fit.CROP,
        min_tissue=min_tissue,
        fill_background=nan is NotFinite.BACKGROUND,
        relabel=relabelling(relabel) if relabel else None,
        skip_bad=on_bad is OnBad.SKIP,
    )
    plan = plan_import(Request(tuple(source), patient, split, seed, labels))
    _show_plan(plan)
    try:
        result = write_import(plan, out, options)
    except BadVolumesError as error:
        if len(error.lines) > 1:
            _show_lines("cannot be imported", error.lines)
        raise
    _show_result(plan, result)
    print(printable(f"written to {out}; check it with 'vqvae data check {out}'"))


def _show_plan(plan: Plan) -> None:
    patients = plan.patients
    origin = "guessed" if patients.guessed else "given"
    files = sum(len(volume.files) for volume in plan.volumes)
    print(printable(f"patient pattern ({origin}): {patients.pattern}"))
    print(f"{count(files, 'file')} of {count(len(patients.files), 'patient')}")
    print(printable(f"  {', '.join(patients.files)}"))
    if plan.request.label_maps is LabelMaps.IMPORT:
        maps = len({volume.label_files for volume in plan.volumes if volume.label_files})
        meaning = ", ".join(f"{label} {organ}" for organ, label in ORGANS.items())
        print(f"label maps: {maps}; the labels are {meaning} (else give --relabel)")
    _show_lines("left out", plan.left_out)
    _show_lines(
        "label maps, left out (--labels import makes them the segmentations of their scans, "
        "--labels scans takes them for scans)",
        plan.label_maps,
    )


def _show_lines(what: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"{what} ({len(lines)}):")
    for line in lines:
        print(f"  {one_line(line)}")


def _show_result(plan: Plan, result: Result) -> None:
    _show_lines("left out: cannot be imported", result.failed)
    empty = [str(one.volume.files[0].path) for one in result.volumes if not one.kept]
    _show_lines("left out: no slice has enough tissue", empty)
    cases = plan.patients.cases()
    for split in SPLITS:
        volumes = result.of(split)
        slices = count(sum(len(one.kept) for one in volumes), "slice")
        dropped = sum(one.dropped for one in volumes)
        names = [name for name, assigned in result.splits.items() if assigned == split]
        shown = ", ".join(f"{name} (case {cases[name]:03})" for name in names)
        print(
            printable(
                f"{split}: {slices} of {count(len(volumes), 'volume')}; {dropped} with too little "
                f"tissue left out\n  {shown}"
            )
        )
