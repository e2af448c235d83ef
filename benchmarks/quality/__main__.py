"""The command line of the comparison; see the package's documentation."""

import argparse
import json
import math
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.codecs import available_codecs
from benchmarks.quality.models import CODES, NAMES, STRIDE, VAES, build
from benchmarks.quality.scores import Scores, mean_ssim, score_codec, score_model
from benchmarks.quality.table import Result, as_markdown, write
from benchmarks.quality.training import Budget, train
from benchmarks.quality.vae import Vae
from vqvae.config import DataConfig, TrainingConfig
from vqvae.data.batches import Images, open_images
from vqvae.data.splits import open_split
from vqvae.device import choose_device, memory_format

SETTINGS = Path(__file__).with_name("settings.toml")
RATE = math.log2(CODES) / STRIDE**2
"""Bits a pixel."""
POINTS = 12
"""How often a model is scored during its training, for the figure."""


def main() -> None:
    """Run the comparison, print its table, and write its files."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    splits = _open(arguments.root, arguments.device)
    budget = Budget(arguments.seconds if arguments.epochs is None else None, arguments.epochs)
    settings = tomllib.loads(SETTINGS.read_text(encoding="utf-8"))
    names = arguments.models.split(",") if arguments.models else list(NAMES)
    changes = json.loads(arguments.settings)
    results = [
        _trained(
            name, settings["vae" if name in VAES else name] | changes, splits, budget, arguments
        )
        for name in names
    ]
    if arguments.codecs:
        results += _codecs(splits[arguments.split])
    what = f"{arguments.epochs} epochs" if arguments.epochs else f"{arguments.seconds:g} s"
    write(results, arguments.out, f"{arguments.root.name}, {what}, {arguments.threads} threads")
    print(as_markdown(results))
    print(f"written to {arguments.out}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.quality", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="an imported data set")
    parser.add_argument("--seconds", type=float, default=300.0, help="of training, for each model")
    parser.add_argument("--epochs", type=int, help="the same epochs instead of the same time")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", default="", help=f"of {', '.join(NAMES)}; separated by commas")
    parser.add_argument("--no-codecs", dest="codecs", action="store_false")
    parser.add_argument("--split", choices=("validate", "test"), default="test")
    parser.add_argument("--settings", default="{}", help="JSON that replaces settings, to tune")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("quality"))
    arguments = parser.parse_args()
    unknown = set(filter(None, arguments.models.split(","))) - set(NAMES)
    if unknown:
        print(f"error: no model is named {', '.join(sorted(unknown))}", file=sys.stderr)
        sys.exit(2)
    return arguments


def _open(root: Path, device: str) -> dict[str, Images]:
    where = choose_device(device)
    layout = memory_format(where, "float32")
    data = DataConfig(root=root)
    return {
        name: open_images(open_split(data, name), where, layout)
        for name in ("train", "validate", "test")
    }


def _trained(
    name: str,
    settings: Mapping[str, Any],
    splits: Mapping[str, Images],
    budget: Budget,
    arguments: argparse.Namespace,
) -> Result:
    """Train a model once for each seed, and score the split."""
    scores: list[Scores] = []
    curves: list[list[tuple[float, float]]] = []
    about: dict[str, float] = {}
    for seed in range(arguments.seeds):
        model = build(name, settings, splits["train"], seed)
        training = TrainingConfig(
            learning_rate=settings["learning_rate"],
            schedule=settings["schedule"],
            batch_size=settings["batch_size"],
            seed=seed,
        )
        curve: list[tuple[float, float]] = []
        due = 0.0
        for progress in train(model, splits["train"], training, budget):
            share = progress.seconds / budget.seconds if budget.seconds else 0.0
            share = share or progress.epochs / (budget.epochs or 1)
            if share >= due:
                curve.append((progress.seconds, mean_ssim(model, splits["validate"])))
                due += 1 / POINTS
        if isinstance(model, Vae):
            model.fit_rate(splits["train"], RATE * STRIDE**2)
        scores.append(score_model(model, splits[arguments.split]))
        curves.append(curve)
        about = {
            "epochs": progress.epochs,
            "steps": progress.steps,
            "images/s": progress.images / progress.seconds,
            "parameters": model.parameters(),
        }
        mean = sum(scores[-1].slices["ssim"]) / len(scores[-1].slices["ssim"])
        print(f"{name}, seed {seed}: SSIM {mean:.4f}, {progress}", file=sys.stderr, flush=True)
    return Result(name, scores, curves, about)


def _codecs(images: Images) -> list[Result]:
    return [
        Result(f"{codec.name}{'' if container else ', payload'}", [scores])
        for codec in available_codecs()
        for container in ((True, False) if codec.has_container else (True,))
        for scores in [score_codec(codec, images, RATE, container=container)]
    ]


if __name__ == "__main__":
    main()
