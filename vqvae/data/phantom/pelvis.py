"""Painting fat, muscles, bones and vessels of one cross-section of the pelvis.

Intensities are like those of a T2-weighted scan. Every structure exists between two levels, and its
size changes between them, so structures appear, grow and vanish from slice to slice. Numbers are
positions, sizes and levels in millimetres, unless they are intensities.
"""

import math
from dataclasses import dataclass

import numpy as np

from vqvae.data.phantom.anatomy import Patient, Visit, ball, fades
from vqvae.data.phantom.canvas import Canvas, Field, bar, ellipse, turned

BODY, BONE = 1, 2


@dataclass(frozen=True)
class Texture:
    """Smooth noise of unit variance at the pixels of a slice, the same at all visits of a patient.

    Attributes:
        warp_x: [H, W], with a scale of some centimetres; bends outlines along x.
        warp_y: the same along y.
        medium: with a scale of about 6 mm; lobes and nodules.
        fine: with a scale of about 2 mm; strands.
        fibre: elongated along x; muscle.
    """

    warp_x: Field
    warp_y: Field
    medium: Field
    fine: Field
    fibre: Field


def grid(shape: tuple[int, ...], pixel: float) -> tuple[Field, Field]:
    """The coordinates of pixels in mm from the centre: x [H, 1] of rows, y [1, W] of columns."""
    x, y = ((np.arange(size, dtype=np.float32) - (size - 1) / 2) * pixel for size in shape)
    return x[:, None], y[None, :]


class Section:
    """A cross-section of one patient at one visit and one level, and the canvas to paint it on."""

    def __init__(
        self, patient: Patient, visit: Visit, z: float, texture: Texture, pixel: float
    ) -> None:
        """Compute the coordinates; `z` is the level and `pixel` the side of a pixel, in mm."""
        self.patient, self.visit, self.texture = patient, visit, texture
        x, y = grid(texture.fine.shape, pixel)
        cos, sin = math.cos(math.radians(visit.turn)), math.sin(math.radians(visit.turn))
        u = x - visit.shift[0] - patient.lean
        v = y - visit.shift[1]
        self.outer_x = u * cos + v * sin + 1.5 * texture.warp_x
        self.outer_y = v * cos - u * sin + 1.5 * texture.warp_y
        # Bones and organs scale with the patient's size, the skin does not.
        self.x = (self.outer_x + 2.5 * texture.warp_x) / patient.size
        self.y = (self.outer_y + 2.5 * texture.warp_y) / patient.size
        self.side = np.abs(self.x) / patient.spread  # the same on the left and on the right
        self.z = (z - visit.shift[2]) / patient.size
        self.canvas = Canvas(texture.fine.shape, 1.2 * pixel)
        self.muscle = patient.muscle * (1 + 0.22 * texture.fibre)

    def paint(self) -> Canvas:
        """Paint everything except the organs, in order."""
        self._skin_and_fat()
        self._muscles()
        self._bones()
        self._vessels()
        self._pelvic_floor()
        return self.canvas

    def _skin_and_fat(self) -> None:
        patient, z, fine = self.patient, self.z, self.texture.fine
        width = patient.half_width * (1 - ((z + 15) / 260) ** 2)
        depth = patient.half_depth * (1 - ((z - 5) / 330) ** 2)
        u, v = np.abs(self.outer_x / width), np.abs(self.outer_y / depth)
        power = np.float32(2.6)
        body = ((u**power + v**power) ** (1 / power) - 1) * depth
        cleft = ellipse(self.outer_x, self.outer_y, (0, -depth), (3.5, max(0.0, 26 - 0.5 * z)))
        self.inside = body + patient.fat
        body = np.maximum(body, -cleft)
        # Septa are dark lines in bright fat: they are where the noise changes its sign.
        septa = np.exp(-((self.texture.medium / 0.13) ** 2)) + 0.5 * (fine > 2.3)
        self.fat: Field = (0.8 + 0.03 * self.texture.warp_x) * (1 - 0.25 * septa)
        self.canvas.paint(body, 0.3, BODY)
        self.canvas.paint(body + 2.2, self.fat)
        self.canvas.shade(self.inside, 0.6, 1.5)

    def _muscles(self) -> None:
        s, y, z = self.side, self.y, self.z
        self.canvas.paint(self.inside + 1, self.muscle)
        low = fades(z, -90, -22, 25)
        for distance in (
            ellipse(s, y, (0, 16), (50 + 0.5 * max(z - 20, 0), 44)),  # the pelvic cavity
            ellipse(s, y, (26, -46), (22, 26 - 0.1 * z)),  # beside the rectum
            turned(s, y, (20 * low, 56), (46 * low, 26 * low), -30),  # the groin
            ellipse(s, y, (72, 62), (24, 10)),  # around the femoral vessels
            turned(s, y, (108, -34), (26, 7), -30),  # under gluteus maximus
        ):
            self.canvas.paint(np.maximum(distance, self.inside + 2), self.fat)
        muscles = [
            (turned(s, y, (78, -56), (58, 19 + 0.06 * z), -24), -75, 62),  # gluteus maximus
            (turned(s, y, (128, 8), (13, 36), 8), -20, 90),  # gluteus medius, tensor
            (turned(s, y, (82, 45), (21, 17), 20), -30, 90),  # iliopsoas
            (turned(s, y, (112, 50), (13, 11), -20), -80, 30),  # sartorius, rectus femoris
            (turned(s, y, (60, 50), (25, 11), -25), -80, -14),  # pectineus
            (turned(s, y, (58, 18), (30, 13), -15), -80, -30),  # adductors
            (turned(s, y, (88, -18), (30, 11), -10), -45, 5),  # obturator externus, quadratus
            (turned(s, y, (30, 66), (27, 5.5), -6), 8, 90),  # rectus abdominis
        ]
        for distance, low, high in muscles:
            size = fades(z, low, high, 14)
            if size > 0:
                shape = np.maximum(distance + 14 * (1 - size), self.inside + 1)
                self.canvas.paint(shape - 1.6, self.fat)  # fat between the muscles
                self.canvas.paint(shape, self.muscle)

    def _bone(self, distance: Field, cortex: float = 3.2) -> None:
        marrow = self.patient.marrow * (1 + 0.1 * self.texture.medium + 0.07 * self.texture.fine)
        self.canvas.paint(distance, 0.05, BONE)
        self.canvas.paint(distance + cortex, marrow)

    def _bones(self) -> None:
        s, y, z = self.side, self.y, self.z
        head = ball(24, 24, z - 16)
        shaft = fades(z, -75, 6, 12)
        if shaft > 0:
            centre = (134 + 0.12 * min(z + 20, 0), -6.0)
            trunk = turned(s, y, centre, (17 * shaft, 20 * shaft), 20)
            if -18 < z < 16:  # the femoral neck connects head and trochanter
                neck = bar(s, y, (98, 6), (132, -4), 14 * fades(z, -6, 8, 10))
                trunk = np.minimum(trunk, neck)
            self._bone(trunk)
        self._hip_bone()
        if head > 0:
            socket = ellipse(s, y, (92, 8), (head + 2.5, head + 2.5))
            self.canvas.paint(socket, 0.7)  # fluid and cartilage
            self._bone(ellipse(s, y, (92, 8), (head, head)), 2.2)
        self._spine()

    def _hip_bone(self) -> None:
        s, y, z = self.side, self.y, self.z
        roof = fades(z, -10, 46, 10)
        if roof > 0:
            front = turned(s, y, (74, 30), (18 * roof, 10 * roof), -35)
            back = turned(s, y, (72, -18), (10 * roof, 21 * roof), -22)
            wall = bar(s, y, (65, 28), (64, -8), 6 * roof)
            self._bone(np.minimum(np.minimum(front, back), wall))
        ilium = fades(z, 48, 120, 10)
        if ilium > 0:
            self._bone(turned(s, y, (92, 0), (11 * ilium, 44 * ilium), -18))
        tuber = fades(z, -52, -14, 12)
        if tuber > 0:
            self._bone(turned(s, y, (63, -22), (11 * tuber, 17 * tuber), 25))
        pubis = fades(z, -16, 6, 10)
        if pubis > 0:
            self._bone(bar(s, y, (9, 52), (52, 40), 10 * pubis))
            gap = np.maximum(s - 2.5, np.abs(y - 52) - 12 * pubis)
            self.canvas.paint(gap, 0.12, BODY)
        ramus = fades(z, -45, -20, 8)
        if ramus > 0:
            low = 1 - np.clip((z + 20) / -30, 0, 1)
            self._bone(bar(s, y, (16 + 14 * (1 - low), 44 - 25 * (1 - low)), (50, 4), 6 * ramus))

    def _spine(self) -> None:
        z = self.z
        if z > 2:
            width = 7 + 0.65 * (z - 2)
            depth = 5 + 0.14 * (z - 2)
            distance = ellipse(self.x, self.y, (0, -62 - 0.06 * z), (width, depth))
            self._bone(np.maximum(distance, self.inside), 2.5)

    def _vessels(self) -> None:
        s, y, z = self.side, self.y, self.z
        front = (70 - 0.16 * z, 62 + 0.02 * z)
        for centre, radius in (
            (front, 5.2),
            ((front[0] - 13, front[1] - 2), 6.2),
            ((54 - 0.05 * z, -34.0), 3.4),
            ((46, 26 - 0.1 * z), 2.6),
            ((118, -40 + 0.1 * z), 2.8),
        ):
            vessel = ellipse(s, y, centre, (radius, radius))
            self.canvas.paint(vessel - 1.8, self.fat)
            self.canvas.paint(vessel, 0.06)

    def _pelvic_floor(self) -> None:
        s, y, z = self.side, self.y, self.z
        wall = fades(z, -30, 42, 12)
        if wall > 0:  # obturator internus, along the side wall
            band = np.minimum(bar(s, y, (50, 34), (56, -4), 6.5), bar(s, y, (56, -4), (47, -34), 6))
            self.canvas.paint(band + 6 * (1 - wall), self.muscle)
        sling = fades(z, -40, 0, 10)
        if sling > 0:  # levator ani, around prostate and rectum
            wide = 30 + 0.3 * min(z, 0)
            band = np.minimum(
                bar(s, y, (wide * 0.7, 34), (wide, 0), 2.6), bar(s, y, (wide, 0), (5, -48), 2.6)
            )
            self.canvas.paint(band + 2.6 * (1 - sling), self.muscle)
        bulb = ball(17, 22, z + 48)
        if bulb > 0:  # root of the penis
            self.canvas.paint(ellipse(self.x, y, (0, 16), (bulb, bulb * 0.8)), 0.55)
            for body in (turned(s, y, (19, 22), (6, 15), 25), ellipse(self.x, y, (0, 16), (4, 4))):
                self.canvas.paint(body, 0.36 + 0.05 * self.texture.medium)
