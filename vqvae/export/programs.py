"""A model as programs that run with torch alone, without this code and without pickle."""

import copy
import io

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from vqvae.model.vqvae import VQVAE

RECONSTRUCT, ENCODE, DECODE = "model.pt2", "encode.pt2", "decode.pt2"
NAMES = (RECONSTRUCT, ENCODE, DECODE)

# Of two images each, because a batch of one would be taken for a constant; no size is a multiple
# of another, or a program would promise that it always is.
_IMAGES = (2, 1, 96, 80)
_CODES = (2, 24, 20)


class _Reconstruct(nn.Module):
    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = self.model(images)[0]
        return made


class _Encode(nn.Module):
    def __init__(self, model: VQVAE) -> None:
        super().__init__()
        self.model = model
        del self.model.decoder  # a program stores all that its module has

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
    """The three programs of `model`, by the names of their files; `torch.export.load` reads each.

    `model.pt2` takes images [B, 1, H, W] in [0, 1] to their reconstructions, `encode.pt2` takes
    them to codes [B, h, w], `decode.pt2` takes codes to images [B, 1, h stride, w stride] that
    are still to be cropped; for any B, H and W. Traced on the CPU, since a program made on a GPU
    stays there.
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
    """A copy on the CPU that parts can be taken from, and that follows no gradient."""
    return copy.deepcopy(model).cpu().eval().requires_grad_(requires_grad=False)


def _written(module: nn.Module, example: Tensor, axes: dict[int, object]) -> bytes:
    with torch.no_grad():
        program = torch.export.export(module, (example,), dynamic_shapes=(axes,), strict=False)
    _strip(program)
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _strip(program: ExportedProgram) -> None:
    """Leave out what is no part of the computation.

    Example inputs would be a pickle; guards, source code that torch executes when it opens the
    program (and they refuse a latent grid of one row, for no reason of ours); traces, the paths of
    files on the machine that exported. `vqvae.export.archive_check` refuses a program with any.
    """
    # There is no public way to leave these two out. No inputs at all (None) would be an empty
    # record, which MLflow's check for pickles takes for one.
    program._example_inputs = {}  # type: ignore[assignment]
    program._guards_code = []
    for node in program.graph.nodes:
        node.meta = {"val": node.meta["val"]} if "val" in node.meta else {}
