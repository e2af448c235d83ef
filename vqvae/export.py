"""Exporting a model as a program that runs with torch alone, without this code or pickle."""

import copy
import io
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from vqvae.files import write_whole
from vqvae.model import VQVAE

_EXAMPLE = (2, 1, 96, 80)


def to_program(model: VQVAE) -> ExportedProgram:
    """Images [B, 1, H, W] in [0, 1] to their reconstructions and codes, for any B, H and W.

    Traced on the CPU, since a program made on a GPU stays there. The example is of two images
    because a batch of one would be taken for a constant.
    """
    axes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    example = torch.zeros(_EXAMPLE)
    on_cpu = copy.deepcopy(model).cpu().eval()
    return torch.export.export(on_cpu, (example,), dynamic_shapes=(axes,), strict=False)


def write_program(model: VQVAE, destination: Path) -> None:
    """Write the program of `model`; `torch.export.load` reads it."""
    buffer = io.BytesIO()
    torch.export.save(to_program(model), buffer)
    write_whole(destination, buffer.getvalue())
