"""`vqvae train`: train a model, or resume a training."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.progress_bar import watch
from vqvae.files import make_writable
from vqvae.sweep import trainer
from vqvae.text import printable
from vqvae.toml import read_config


def train(
    config: Annotated[Path, typer.Argument(help="TOML file with [data], [model] and [training]")],
    out: Annotated[
        Path, typer.Option("--out", help="folder for the checkpoints last.pt and best.pt")
    ],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads (default: all cores)")
    ] = None,
) -> None:
    """Train a model, or resume a training that was interrupted.

    If the folder has a checkpoint of the same configuration, the training
    continues after it. On a CPU with the same number of threads, the result is
    the same, bit for bit, as without the interruption.
    """
    settings = read_config(config)
    from vqvae.training.checkpoint import load_model
    from vqvae.training.code_prior_file import write_code_prior
    from vqvae.training.code_statistics import with_statistics
    from vqvae.training.loop import fit

    make_writable(out)
    trainer.prepare([settings])
    threads = threads or len(os.sched_getaffinity(0))
    # Printed, because the same number is needed to get the same bits again.
    print(f"CPU threads: {threads}")
    last = watch(fit(settings, out, threads=threads), settings.training.epochs)
    if last.diverged:
        raise RuntimeError(f"training ended early: {last.diverged}")
    print(printable(f"best model: {out / 'best.pt'}"))
    model, _ = load_model(out)
    if model.code_prior is None:
        print("fitting how often codes stand beside each other, for small .vqc files")
        if (prior := with_statistics(settings, model).code_prior) is not None:
            write_code_prior(out, model, prior)
