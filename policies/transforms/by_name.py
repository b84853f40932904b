"""Transforms by the names that recipes use."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ..._registry import unknown_name
from ...edges.settings import check_settings, shown
from ...errors import ConfigError
from .actions import (
    AgreeingActions,
    BinaryGripper,
    EnsembleActions,
    EulerToAxisAngle,
    FlipBinaryGripper,
    GripperDeadband,
    HoldGripper,
    NegateGripper,
    PatientGripper,
    RescaleEntries,
    StickyGripper,
    StretchToRange,
)
from .base import ActionTransform, ImageTransform, StateTransform
from .images import (
    AreaResize,
    BicubicResize,
    CenterCrop,
    FlipVertically,
    JpegRoundTrip,
    Lanczos3Resize,
    LinearResize,
    MirrorHorizontally,
    PilResizeWithPad,
    ResizeWithPad,
)
from .poses import AccumulateDeltas, RotationFromSix
from .states import (
    AppendConstants,
    AppendControllerPose,
    BinaryEntry,
    BridgeEuler,
    ClosedLoop,
    ComplementEntry,
    ControllerPose,
    EulerToSix,
    RoundEntries,
    ShortestAxisAngle,
    TakeEntries,
)

IMAGE_TRANSFORMS: dict[str, type[ImageTransform]] = {
    "mirror_horizontally": MirrorHorizontally,
    "flip_vertically": FlipVertically,
    "jpeg_round_trip": JpegRoundTrip,
    "lanczos3_resize": Lanczos3Resize,
    "center_crop": CenterCrop,
    "resize_with_pad": ResizeWithPad,
    "area_resize": AreaResize,
    "bicubic_resize": BicubicResize,
    "linear_resize": LinearResize,
    "pil_resize_with_pad": PilResizeWithPad,
}
ACTION_TRANSFORMS: dict[str, type[ActionTransform]] = {
    "flip_binary_gripper": FlipBinaryGripper,
    "binary_gripper": BinaryGripper,
    "sticky_gripper": StickyGripper,
    "patient_gripper": PatientGripper,
    "negate_gripper": NegateGripper,
    "gripper_deadband": GripperDeadband,
    "rescale_entries": RescaleEntries,
    "stretch_to_range": StretchToRange,
    "euler_to_axis_angle": EulerToAxisAngle,
    "ensemble_actions": EnsembleActions,
    "agreeing_actions": AgreeingActions,
    "hold_gripper": HoldGripper,
    "rotation_from_six": RotationFromSix,
    "accumulate_deltas": AccumulateDeltas,
}
STATE_TRANSFORMS: dict[str, type[StateTransform]] = {
    "take_entries": TakeEntries,
    "append_constants": AppendConstants,
    "append_controller_pose": AppendControllerPose,
    "complement_entry": ComplementEntry,
    "binary_entry": BinaryEntry,
    "shortest_axis_angle": ShortestAxisAngle,
    "round_entries": RoundEntries,
    "controller_pose": ControllerPose,
    "euler_to_six": EulerToSix,
    "bridge_euler": BridgeEuler,
    "closed_loop": ClosedLoop,
}


def image_transforms(named: Sequence[str | Mapping[str, Any]]) -> tuple[ImageTransform, ...]:
    """Image transforms from a recipe's list, e.g. ``["jpeg_round_trip", {"center_crop": {"area": 0.9}}]``.

    Raises:
        ConfigError: An unknown transform, or an argument it does not take.
    """
    return tuple(_build("image transform", IMAGE_TRANSFORMS, entry) for entry in named)


def action_transforms(named: Sequence[str | Mapping[str, Any]]) -> tuple[ActionTransform, ...]:
    """Action transforms from a recipe's list, e.g. ``["euler_to_axis_angle", {"binary_gripper": {"threshold": 0.5}}]``.

    Raises:
        ConfigError: An unknown transform, or an argument it does not take.
    """
    return tuple(_build("action transform", ACTION_TRANSFORMS, entry) for entry in named)


def state_transforms(named: Sequence[str | Mapping[str, Any]]) -> tuple[StateTransform, ...]:
    """State transforms from a recipe's list, e.g. ``[{"take_entries": {"entries": [0, 1, 2]}}]``.

    Raises:
        ConfigError: An unknown transform, or an argument it does not take.
    """
    return tuple(_build("state transform", STATE_TRANSFORMS, entry) for entry in named)


def _build(kind: str, known: Mapping[str, type[Any]], entry: str | Mapping[str, Any]) -> Any:
    if isinstance(entry, Mapping) and len(entry) != 1:
        raise ConfigError(f"a {kind} is a name or {{name: arguments}}; got {dict(entry)!r}.")
    name, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    if name not in known:
        raise unknown_name(kind, name, known)
    if not isinstance(arguments or {}, Mapping):
        raise ConfigError(f"{kind} {name} takes its arguments by name; got {shown(arguments)}.")
    check_settings(f"{kind} {name}: ", known[name], arguments or {})
    try:
        return known[name](**(arguments or {}))
    except TypeError as error:
        takes = ", ".join(field.name for field in fields(known[name])) or "no arguments"
        raise ConfigError(f"{kind} {name!r} takes {takes}; got {arguments!r}.") from error


def describe(transforms: Sequence[ImageTransform | StateTransform | ActionTransform]) -> list[str]:
    """One readable line per transform, for provenance."""
    return [
        f"{type(t).__name__}({', '.join(f'{k}={v!r}' for k, v in dataclasses.asdict(t).items())})"  # type: ignore[call-overload]
        for t in transforms
    ]
