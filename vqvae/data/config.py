"""What a configuration says about data. Light: imports nothing but pydantic."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Patients = Annotated[int, Field(ge=1, le=400)]
Pixels = Annotated[int, Field(ge=32, le=1024, multiple_of=8)]


class PhantomConfig(BaseModel):
    """A synthetic data set: the same values give the same bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train_patients: Patients = 8
    validate_patients: Patients = 2
    test_patients: Patients = 2
    volumes: int = Field(default=2, ge=1, le=52, description="volumes per patient, a week apart")
    slices: int = Field(default=20, ge=1, le=400, description="slices per volume")
    height: Pixels = Field(default=256, description="pixels from the patient's right to left")
    width: Pixels = Field(default=128, description="pixels from back to front")
    seed: int = Field(default=0, ge=0, lt=2**32)


class DataConfig(BaseModel):
    """Where the slices are and how they are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path = Field(default=Path("data/phantom"), description="the folder of the HipMRI layout")
    phantom: PhantomConfig | None = Field(
        default=None, description="write this phantom at root if nothing is there"
    )
    on_bad_slice: Literal["stop", "skip"] = Field(
        default="stop", description="what an unreadable slice does"
    )
    cache: Path | None = Field(
        default=None, description="where decoded slices go; none: $TMPDIR, or the user's cache"
    )
