"""An experiment: the TOML file that says what to try, and the same checked with its trainer."""

from typing import Any, Literal

from pydantic import Field, field_validator

from sweeps.config.names import CONFIRMATION_SUFFIX, NAME_RULE, RESERVED, SAFE_NAME
from sweeps.config.toml import StrictModel


class Objective(StrictModel):
    """The metric that trials are compared by."""

    metric: str = Field(
        "",
        description="The metric to optimize, one of the trainer's `bounds`. By default the first "
        "of them.",
    )
    direction: Literal["maximize", "minimize"] = Field(
        "maximize",
        description="Whether the highest or the lowest value is the best. By default the "
        "direction that the trainer gives the metric; a different one is an error.",
    )

    @property
    def maximize(self) -> bool:
        """Whether the highest value is the best; otherwise the lowest is."""
        return self.direction == "maximize"

    @property
    def sign(self) -> int:
        """The factor by which values are multiplied so that higher is better: 1 or -1."""
        return 1 if self.maximize else -1


class Sampler(StrictModel):
    """How the values of new trials are chosen."""

    kind: Literal["tpe", "random", "grid", "enqueued"] = Field(
        "tpe",
        description="`tpe`: Optuna's TPE sampler. `random`: independent random values. `grid`: "
        "every combination of the lists in `[space]`, the last one changing fastest. "
        "`enqueued`: only the trials that the experiment lists in `[[enqueue]]`.",
    )
    startup_trials: int = Field(
        10,
        ge=1,
        description="For `tpe`: how many trials get random values before the sampler uses results.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="The seed of the sampler. The same seed proposes the same trials if their "
        "results arrive in the same order.",
    )


class Pruner(StrictModel):
    """When trials are pruned: asynchronous successive halving (Li et al. 2018, arXiv:1810.05934).

    Trials are compared after the epochs `min_epochs`, `min_epochs * reduction`,
    `min_epochs * reduction**2`, … (the rungs). A trial continues only if it is among the best
    `1 / reduction` of all trials that have reached the same rung so far.
    """

    kind: Literal["none", "successive_halving"] = Field(
        "none",
        description="`successive_halving`, or `none` (the default): every trial runs to its last "
        "epoch.",
    )
    min_epochs: int = Field(1, ge=1, description="The epoch of the first comparison.")
    reduction: int = Field(
        3,
        ge=2,
        description="One in this number of trials continues after a comparison; the next "
        "comparison comes at this multiple of the epoch.",
    )
    min_rivals: int = Field(
        3,
        ge=1,
        description="How many other trials must have reached the epoch before any trial is "
        "pruned there.",
    )


class Promotion(StrictModel):
    """When a sweep's best model becomes the champion of its registered model."""

    model: str = Field(
        "",
        description="The name of the registered model in MLflow. By default the trainer's "
        "package and the experiment's name, joined by a hyphen.",
    )
    candidates: int = Field(
        3, ge=1, description="How many of the best trials are candidates and are trained again."
    )
    seeds: int = Field(
        3,
        ge=2,
        le=100,
        description="How many times each candidate is trained again, each time with another "
        "random seed.",
    )
    floors: dict[str, float] = Field(
        default_factory=dict,
        description="The lowest values of test metrics (`test/…`) with which a model may be "
        "promoted. By default those of the trainer; a value given here replaces the trainer's.",
    )

    @field_validator("model")
    @classmethod
    def _check_model(cls, name: str) -> str:
        if name and not SAFE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} becomes part of a URI; write {NAME_RULE}")
        return name


class Reference(StrictModel):
    """A published figure that the report compares the best trial with."""

    value: float = Field(
        allow_inf_nan=False,
        description="The published value. Name one only if it was measured on the same data by "
        "the same protocol; otherwise the comparison misleads.",
    )
    source: str = Field(
        min_length=1, description="Where it was published, as the report shall name it."
    )
    metric: str = Field(
        "",
        description="The metric that was published: the objective (the default), or a metric of "
        "the test split (`test/…`), which a promotion measures.",
    )


class Experiment(StrictModel):
    """The content of the file; `ResolvedExperiment` is the same, checked with its trainer."""

    name: str = Field(
        description="The name of the sweep and of its folder in the runs folder: 1 to 64 "
        "letters, digits, - and _."
    )
    trials: int = Field(
        ge=1,
        le=1_000_000,
        description="How many trials must end: complete, pruned or diverged. Failed trials do "
        "not count.",
    )
    trainer: str = Field(
        description="The trainer, as `module:attribute`, such as `vqvae.sweep:trainer`."
    )
    objective: Objective = Field(
        default_factory=Objective,
        description="The table `[objective]`: the metric to optimize.",
    )
    sampler: Sampler = Field(
        default_factory=Sampler,
        description="The table `[sampler]`: how the values of new trials are chosen.",
    )
    pruner: Pruner = Field(
        default_factory=Pruner,
        description="The table `[pruner]`: when trials are stopped early. By default never.",
    )
    promotion: Promotion = Field(
        default_factory=Promotion,
        description="The table `[promotion]`: how the best model becomes the champion.",
    )
    trial: dict[str, Any] = Field(
        default_factory=dict,
        description="The table `[trial]`: the trainer's configuration, the same in every trial "
        "except for the searched values. Fields left out have the trainer's defaults.",
    )
    space: dict[str, Any] = Field(
        min_length=1,
        description="The table `[space]`: for each searched field, by its dotted path, a list of "
        "choices, a range (`low`, `high`, `log`), or `depends_on` (another searched field with a "
        "list of choices) with `cases` (a list or a range for each of its choices).",
    )
    reference: Reference | None = Field(
        None,
        description="The table `[reference]`: a published figure that the report compares the "
        "best trial with. By default none.",
    )
    enqueue: list[dict[str, Any]] = Field(
        default_factory=list,
        description="The tables `[[enqueue]]`: trials to run first, each with values by dotted "
        "path. Paths left out have the values of `[trial]`. By default none.",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not SAFE_NAME.fullmatch(name.removesuffix(CONFIRMATION_SUFFIX)):
            raise ValueError(f"{name!r} becomes a folder's name; write {NAME_RULE}")
        if name in RESERVED:
            raise ValueError(f"{name!r} is the name of another folder in runs; choose another name")
        return name

    @property
    def model_name(self) -> str:
        """The name of the registered model."""
        package = self.trainer.partition(":")[0].partition(".")[0]
        return self.promotion.model or f"{package}-{self.name}"
