"""`vqvae evaluate`: score a model on a split."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption
from vqvae.cli.tables import print_evaluation
from vqvae.config import DataConfig
from vqvae.errors import InputError
from vqvae.toml import read_data_config


class SplitChoice(str, Enum):  # noqa: UP042 (Typer shows a StrEnum's members alike; mypy does not)
    """The splits of a data set."""

    train = "train"
    validate = "validate"
    test = "test"


def evaluate(
    model: ModelOption,
    split: Annotated[
        SplitChoice, typer.Option(help="split of the data set to score on")
    ] = SplitChoice.validate,
    data: Annotated[
        Path | None,
        typer.Option(help="folder of the data set (default: that of the model's training)"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file that names the data (instead of --data): an experiment file, or one "
            "with [data]"
        ),
    ] = None,
    device: DeviceOption = DeviceChoice.auto,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, not tables")] = False,
) -> None:
    """Score a model on a split: SSIM, PSNR, NMSE, bits per pixel, use of the codebook.

    Scores are means over slices, with bootstrap intervals over patients. SSIM is
    given by the main protocol (images scaled to 0 to 1, data range 1, Gaussian
    window of 11 x 11 pixels), and by conventions that other reports use.
    """
    from vqvae.device import choose_device
    from vqvae.evaluation.evaluate import evaluate as evaluate_codec
    from vqvae.inference.load import open_model

    given = _given_data(data, config)
    codec, trained_config = open_model(model, choose_device(device.value))
    if given is None and trained_config is not None:
        given = trained_config.data
    if given is None:
        raise InputError(
            f"{model}: a package does not say where its data are; give --data FOLDER, or --config "
            "FILE (an experiment, or a configuration with [data])"
        )
    found = evaluate_codec(codec, given, split.value)
    if as_json:
        print(json.dumps(found.plain(), indent=2))
    else:
        print_evaluation(found)


def _given_data(data: Path | None, config: Path | None) -> DataConfig | None:
    """The data that the command line names, by a folder or by a file."""
    if data is not None and config is not None:
        raise InputError("--data and --config both name the data; give only one of them")
    if data is not None:
        return DataConfig(root=data)
    return None if config is None else read_data_config(config)
