"""`vqvae train`: a training, from its beginning or from where it was interrupted."""

import os
from pathlib import Path
from typing import Annotated

import typer

from vqvae.cli.progress_bar import watch
from vqvae.config import read_config
from vqvae.files import make_writable
from vqvae.sweep import trainer
from vqvae.text import printable
from vqvae.training.loop import fit


def train(
    config: Annotated[Path, typer.Argument(help="TOML with [data], [model] and [training]")],
    out: Annotated[Path, typer.Option("--out", help="the folder for last.pt and best.pt")],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads; all cores if left out")
    ] = None,
) -> None:
    """Train a model, or go on with a training that was interrupted."""
    settings = read_config(config)
    make_writable(out)
    trainer.prepare([settings])
    threads = threads or len(os.sched_getaffinity(0))
    # Printed because it is needed to get the same bits again.
    typer.echo(f"CPU threads: {threads}")
    last = watch(fit(settings, out, threads=threads), settings.training.epochs)
    if last.diverged:
        raise RuntimeError(f"training ended early: {last.diverged}")
    typer.echo(printable(f"best model: {out / 'best.pt'}"))
