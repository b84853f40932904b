"""What happens between a suite and a policy's network, as values: each transform is a frozen dataclass that a recipe names.

An image transform maps one image. An action transform maps a chunk and says how the meaning of an action changes with it; what must
be remembered within an episode is passed in and out, never kept in the transform.
"""

from .actions import (
    BinaryGripper,
    EnsembleActions,
    EulerToAxisAngle,
    FlipBinaryGripper,
    GripperDeadband,
    NegateGripper,
    PatientGripper,
    RescaleEntries,
    StickyGripper,
    StretchToRange,
    euler_to_axis_angle,
)
from .base import ActionTransform, ImageTransform
from .by_name import ACTION_TRANSFORMS, IMAGE_TRANSFORMS, action_transforms, describe, image_transforms
from .images import (
    AreaResize,
    BicubicResize,
    CenterCrop,
    JpegRoundTrip,
    Lanczos3Resize,
    MirrorHorizontally,
    ResizeWithPad,
    check_image,
)

__all__ = [
    "ACTION_TRANSFORMS",
    "IMAGE_TRANSFORMS",
    "ActionTransform",
    "AreaResize",
    "BicubicResize",
    "BinaryGripper",
    "CenterCrop",
    "EnsembleActions",
    "EulerToAxisAngle",
    "FlipBinaryGripper",
    "GripperDeadband",
    "ImageTransform",
    "JpegRoundTrip",
    "Lanczos3Resize",
    "MirrorHorizontally",
    "NegateGripper",
    "PatientGripper",
    "RescaleEntries",
    "ResizeWithPad",
    "StickyGripper",
    "StretchToRange",
    "action_transforms",
    "check_image",
    "describe",
    "euler_to_axis_angle",
    "image_transforms",
]
