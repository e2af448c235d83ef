"""`vqvae evaluate`: score a model on a split."""

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.options import DeviceChoice, DeviceOption, ModelOption
from vqvae.cli.tables import print_evaluation
from vqvae.config import read_config
from vqvae.errors import InputError


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
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file whose [data] names the data (default: the data that the model was "
            "trained on; a package names none)"
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

    codec, trained_config = open_model(model, choose_device(device.value))
    data = trained_config if config is None else read_config(config)
    if data is None:
        raise InputError(f"{model}: a package does not say where its data are; give --config")
    found = evaluate_codec(codec, data, split.value)
    if as_json:
        print(json.dumps(found.plain(), indent=2))
    else:
        print_evaluation(found)
