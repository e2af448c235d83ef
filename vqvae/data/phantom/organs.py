"""Painting the pelvic organs of one cross-section: bowel, bladder, rectum, prostate.

Bladder and rectum depend on the visit, the prostate on the patient only.
"""

import math

import numpy as np

from vqvae.data.phantom.anatomy import ball, fades
from vqvae.data.phantom.canvas import ellipse, turned
from vqvae.data.phantom.pelvis import BODY, Section

BLADDER, RECTUM, PROSTATE = 3, 4, 5


def paint_organs(at: Section) -> None:
    """Paint all organs over the painted section, the prostate last."""
    _bowel(at)
    _bladder(at)
    _rectum(at)
    _prostate(at)


def _bowel(at: Section) -> None:
    rise = fades(at.z, 44, 200, 14)
    if rise > 0:
        cavity = ellipse(at.x, at.y, (0, 22), (72 * rise, 34 * rise))
        loops = np.maximum(cavity, 14 * (0.2 - at.texture.warp_y))
        at.canvas.paint(loops, 0.28)
        at.canvas.paint(loops + 3, 0.5 + 0.14 * at.texture.medium)


def _bladder(at: Section) -> None:
    fill = at.visit.bladder
    middle = 17 + 0.8 * fill
    radius = ball(fill, 0.85 * fill, at.z - middle)
    if radius <= 1:
        return
    flat = 0.72 + 0.008 * (at.z - middle)
    shape = ellipse(at.x, at.y, (1, 26), (radius * 1.25, radius * flat))
    shape -= 1.6 * at.texture.medium * (radius / fill)
    at.canvas.paint(shape - 3.5, 0.24 + 0.03 * at.texture.fine, BODY)
    at.canvas.paint(shape, 0.93 + 0.008 * (at.y - 26), BLADDER)


def _rectum(at: Section) -> None:
    z, texture = at.z, at.texture
    centre = (2.5 * math.sin(z / 22), -34 - 0.12 * max(z, 0) + 3 * math.sin(z / 17))
    full = min(max((z + 42) / 30, 0.0), 1.0) * (1 + 0.2 * math.sin(z / 13))
    radius = 6 + (at.visit.rectum - 6) * full
    shape = ellipse(at.x, at.y, centre, (radius * 1.12, radius * 0.92))
    shape += 0.8 * texture.medium
    at.canvas.paint(shape - 2.8, at.fat)
    at.canvas.paint(shape, 0.3 + 0.04 * texture.fine, RECTUM)
    stool = 0.38 + 0.12 * texture.medium + 0.08 * texture.fine
    at.canvas.paint(shape + 3.2, stool)
    if at.visit.gas > 0 and full > 0.3:  # gas rises to the front: the patient lies on his back
        top = centre[1] + radius * (1 - 2 * at.visit.gas)
        at.canvas.paint(np.maximum(shape + 3.2, top - at.y), 0.03)


def _prostate(at: Section) -> None:
    a, b, height = at.patient.prostate
    radius = ball(1, height, at.z)  # as a fraction of that at the centre
    texture = at.texture
    vesicles = fades(at.z, height * 0.95, height + 9, 4)
    if vesicles > 0:
        band = turned(at.side, at.y, (17, -13), (17 * vesicles, 5 * vesicles), -12)
        at.canvas.paint(band, 0.62 + 0.25 * texture.fine)
    if radius <= 0.1:
        return
    shape = ellipse(at.x, at.y, (0, 4), (a * radius, b * radius)) + 0.7 * texture.medium
    rough = at.patient.nodules
    at.canvas.paint(shape, 0.62 + 0.08 * texture.fine, PROSTATE)
    zone = at.patient.zone * radius
    inner = ellipse(at.x, at.y, (0, 4 + 0.22 * b * radius), (a * zone, b * zone))
    nodules = np.clip(0.42 + rough * (texture.medium + 0.6 * texture.fine), 0.15, 0.9)
    at.canvas.paint(inner + texture.medium, nodules)
    at.canvas.shade(inner + texture.medium, 0.7, 1.2)
    at.canvas.shade(shape, 0.45, 1.4)
    at.canvas.paint(ellipse(at.x, at.y, (0, 5), (2.2, 3)), 0.75)  # urethra
