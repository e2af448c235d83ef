"""Exporting a model as programs that run with torch alone, without this package and pickle."""

import copy
import io

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vqvae.model.vqvae import VQVAE

RECONSTRUCT, ENCODE, DECODE = "model.pt2", "encode.pt2", "decode.pt2"
NAMES = (RECONSTRUCT, ENCODE, DECODE)

# Example shapes for tracing. Two images, because torch.export would treat a batch of one as a
# constant. No size is a multiple of another: the program would require that it always is.
_IMAGES = (2, 1, 96, 80)
_CODES = (2, 24, 20)


class _Reconstruct(nn.Module):
    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        reconstructed: Tensor = self.model(images)[0]
        return reconstructed


class _Encode(nn.Module):
    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model
        del self.model.decoder  # a program stores all parameters of its module

    def forward(self, images: Tensor) -> Tensor:
        return self.model.encode(images)


class _Decode(nn.Module):
    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model
        del self.model.encoder

    def forward(self, indices: Tensor) -> Tensor:
        return self.model.decode_all(indices)


def programs_of(model: VQVAE) -> dict[str, bytes]:
    """The three programs of `model` by file name, as files for `torch.export.load`.

    For any B, H and W:
        `model.pt2`: images [B, 1, H, W] in [0, 1] to their reconstructions.
        `encode.pt2`: images [B, 1, H, W] in [0, 1] to codes [B, h, w].
        `decode.pt2`: codes [B, h, w] to images [B, 1, h stride, w stride], which the caller crops.

    They are traced on the CPU, because a program that is traced on a GPU runs only there.
    """
    images, codes = torch.zeros(_IMAGES), torch.zeros(_CODES, dtype=torch.int64)
    axes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    grid = {0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}
    return {
        RECONSTRUCT: _written(_Reconstruct(_plain(model)), images, axes),
        ENCODE: _written(_Encode(_plain(model)), images, axes),
        DECODE: _written(_Decode(_plain(model)), codes, grid),
    }


def _plain(model: VQVAE) -> VQVAE:
    """A copy on the CPU, without gradients, from which modules can be removed."""
    return copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=False)


def _written(module: nn.Module, example: Tensor, axes: dict[int, object]) -> bytes:
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=(axes,), strict=False)
    _strip(program)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _strip(program: ExportedProgram) -> None:
    """Remove everything that is not part of the computation.

    Example inputs would be a pickle. Guards are source code that torch executes when it opens the
    program; they would also refuse a latent grid of one row. Traces contain paths of the exporting
    host. `vqvae.export.archive_check` refuses a program with any of these.
    """
    # There is no public way to remove the first two. With None as example inputs, their record is
    # empty, and MLflow's check for pickles treats an empty record as a pickle.
    program._example_inputs = {}  # type: ignore[assignment]
    program._guards_code = []
    for node in program.graph.nodes:
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}
