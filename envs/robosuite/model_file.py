"""What the XML of a MuJoCo model says that a state does not: where things without joints stand, and how large things are.

robosuite and LIBERO keep the XML beside every demonstration (``model_file``), as MuJoCo saves it: with six digits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

if TYPE_CHECKING:
    from ..spec import Float64Array

DIGITS = 5e-6  # largest relative error of a number with six digits
_OTHER_ROTATIONS = ("axisangle", "euler", "xyaxes", "zaxis")


def read_model(xml: str | None) -> ElementTree.Element | None:
    """The model's root; None where there is none, or where it is cut or no XML of a model's kind."""
    if xml is None or "<!" in xml.replace("<!--", ""):  # MuJoCo writes no declarations of entities, which may unfold to any size
        return None
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def body_poses(model: ElementTree.Element, bodies: Iterable[str]) -> dict[str, Float64Array] | None:
    """Body -> float64[7], position (m) and quaternion (w, x, y, z) relative to its parent; None where one is not told."""
    told = {body.get("name"): body for body in model.iter("body")}
    poses = {}
    for name in bodies:
        body = told.get(name)
        if body is None or any(body.get(rotation) for rotation in _OTHER_ROTATIONS):
            return None
        pos, quat = _numbers(body.get("pos", "0 0 0"), 3), _numbers(body.get("quat", "1 0 0 0"), 4)
        if pos is None or quat is None:
            return None
        poses[name] = np.concatenate([pos, quat])
    return poses


def geom_sizes(model: ElementTree.Element) -> dict[str, Float64Array]:
    """Geom -> its sizes (m), for those that have a name and sizes."""
    sizes = {}
    for geom in model.iter("geom"):
        name, said = geom.get("name"), geom.get("size")
        if name and said and (found := _numbers(said, None)) is not None:
            sizes[name] = found
    return sizes


def _numbers(text: str, count: int | None) -> Float64Array | None:
    try:
        values = np.array([float(word) for word in text.split()], np.float64)
    except ValueError:
        return None
    return values if (count is None or len(values) == count) and np.isfinite(values).all() else None
