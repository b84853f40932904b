"""What happens between a suite and a policy's network, as values: each transform is a frozen dataclass that a recipe names.

An image transform maps uint8[H, W, 3] to uint8[H', W', 3]. An action transform maps a chunk float[T, A] and says how the meaning of
an action changes with it; what must be remembered within an episode is passed in and out, never kept in the transform.

Sources: the reference LIBERO evaluation of OpenVLA (openvla/openvla c8f03f48, experiments/robot/{openvla_utils,robot_utils}.py and
libero/libero_utils.py), whose image operations are TensorFlow's and are restated here in NumPy bit for bit; SimplerEnv's RT-1
(simpler-env/SimplerEnv 4ab7178e, policies/rt1/rt1_model.py) and its OpenVLA adapter (DelinQu/SimplerEnv-OpenVLA ccfe380,
policies/openvla/openvla_model.py); Euler angles as in transforms3d 0.4.2.
"""

from __future__ import annotations

import dataclasses
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .._registry import unknown_name
from ..envs.base import ActionSpec
from ..errors import ConfigError, DependencyError, PolicyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Chunk = NDArray[np.floating[Any]]
    Memory = dict[str, Any]

LANCZOS_RADIUS = 3


class ImageTransform(ABC):
    """A function of one image."""

    @abstractmethod
    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H', W', 3]."""


class ActionTransform(ABC):
    """A function of a chunk of actions and of what happened before in the episode."""

    @abstractmethod
    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """A new chunk float[T, A]; `memory` is the transform's own, empty at the start of an episode or of a new instruction."""

    def spec(self, before: ActionSpec) -> ActionSpec:
        """Meaning of an action after the transform, given its meaning before."""
        return before

    def _need(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise ConfigError(f"action transform {type(self).__name__} needs actions with {what} {expected!r}; got {found!r}.")


# --- images -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MirrorHorizontally(ImageTransform):
    """Left becomes right.

    LIBERO's stock images are upside down. Upstream turns them by 180 degrees, which leaves them upright but mirrored, and trained
    on that. vlagym's images are the stock ones turned upright, so upstream's input is the mirror image of ours.
    """

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H, W, 3]."""
        return image[:, ::-1]


@dataclass(frozen=True)
class JpegRoundTrip(ImageTransform):
    """Encode as JPEG with 4:2:0 chroma and decode again, as ``tf.io.decode_image(tf.image.encode_jpeg(image))`` does.

    TensorFlow decodes with the integer-fast inverse DCT, from which Pillow's accurate one differs in two thirds of all values.
    """

    quality: int = 95

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[H, W, 3]."""
        try:
            import simplejpeg  # type: ignore[import-untyped]
            from PIL import Image as PilImage
        except ImportError as error:
            raise DependencyError(
                f"jpeg_round_trip needs {error.name}; install it with `pip install 'vlagym[openvla]'`."
            ) from error
        encoded = io.BytesIO()
        PilImage.fromarray(np.ascontiguousarray(image)).save(encoded, format="JPEG", quality=self.quality, subsampling="4:2:0")
        return np.asarray(simplejpeg.decode_jpeg(encoded.getvalue(), "RGB", fastdct=True, fastupsample=False), np.uint8)


@dataclass(frozen=True)
class Lanczos3Resize(ImageTransform):
    """Resize as ``tf.image.resize(image, (height, width), method="lanczos3", antialias=True)`` does, rounded half to even."""

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        if image.shape[:2] == (self.height, self.width):
            return image
        rows = _resample_rows(image.astype(np.float32), self.height)
        columns = _resample_rows(rows.swapaxes(0, 1), self.width)
        resized: Image = np.clip(np.rint(columns.swapaxes(0, 1)), 0, 255).astype(np.uint8)
        return resized


@dataclass(frozen=True)
class CenterCrop(ImageTransform):
    """Cut out the centre and stretch it, as ``tf.image.crop_and_resize`` on values in [0, 1] and TensorFlow's cast to uint8 do.

    Attributes:
        area: Share of the image's area that is kept; its sides shrink by the square root.
        height: Pixels.
        width: Pixels.
    """

    area: float = 0.9
    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        scaled = image.astype(np.float32) * np.float32(1 / 255)
        columns = _bilinear_rows(scaled.swapaxes(0, 1), *_crop_grid(image.shape[1], self.width, self.area))
        rows = _bilinear_rows(columns.swapaxes(0, 1), *_crop_grid(image.shape[0], self.height, self.area))
        clipped = np.clip(rows, 0, 1)
        return (clipped * np.float32(255.5)).astype(np.uint8)  # TensorFlow truncates here; it does not round.


@dataclass(frozen=True)
class ResizeWithPad(ImageTransform):
    """Fit into a frame with black borders, as ``tf.image.resize_with_pad`` (bilinear) and TensorFlow's truncating cast do."""

    height: int = 256
    width: int = 320

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        ratio = max(image.shape[1] / self.width, image.shape[0] / self.height)
        inner_height, inner_width = math.floor(image.shape[0] / ratio), math.floor(image.shape[1] / ratio)
        inner = image
        if image.shape[:2] != (inner_height, inner_width):
            grid = [_half_pixel_grid(*sides) for sides in zip(image.shape, (inner_height, inner_width), strict=False)]
            columns = _bilinear_rows(image.astype(np.float32).swapaxes(0, 1), *grid[1]).swapaxes(0, 1)
            inner = _bilinear_rows(columns, *grid[0]).astype(np.uint8)
        top, left = (self.height - inner_height) // 2, (self.width - inner_width) // 2
        framed = np.zeros((self.height, self.width, 3), np.uint8)
        framed[top : top + inner_height, left : left + inner_width] = inner
        return framed


@dataclass(frozen=True)
class AreaResize(ImageTransform):
    """Resize by averaging over areas, as ``cv2.resize(..., interpolation=cv2.INTER_AREA)``."""

    height: int = 224
    width: int = 224

    def __call__(self, image: Image) -> Image:
        """uint8[H, W, 3] -> uint8[height, width, 3]."""
        try:
            import cv2
        except ImportError as error:
            raise DependencyError("area_resize needs OpenCV; install it with `pip install opencv-python-headless`.") from error
        resized: Image = np.asarray(cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA), np.uint8)
        return resized


def _resample_rows(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Lanczos resampling of axis 0; summed in float32 tap by tap, which is what makes it equal to TensorFlow's."""
    taps, weights = _lanczos_taps(image.shape[0], size)
    total = np.zeros((size, *image.shape[1:]), np.float32)
    for tap in range(taps.shape[1]):
        total += weights[:, tap, None, None] * image[taps[:, tap]]
    return total


@lru_cache(maxsize=32)
def _lanczos_taps(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Source indices intp[after, N] and weights float32[after, N] of each output index, in TensorFlow's float32 arithmetic.

    Taps beyond the kernel weigh nothing.
    """
    f32 = np.float32
    inverse_scale = f32(1) / (f32(after) / f32(before))
    stretch = max(inverse_scale, f32(1))
    radius = f32(LANCZOS_RADIUS) * stretch
    centre = (np.arange(after, dtype=f32) + f32(0.5)) * inverse_scale
    first = np.maximum(0, np.ceil(centre - radius - f32(0.5))).astype(np.intp)
    last = np.minimum(before - 1, np.floor(centre + radius - f32(0.5))).astype(np.intp)
    taps = first[:, None] + np.arange(int((last - first).max()) + 1)
    t = np.abs(taps.astype(f32) + f32(0.5) - centre[:, None]) * (f32(1) / stretch)
    with np.errstate(divide="ignore", invalid="ignore"):
        sines = f32(LANCZOS_RADIUS) * np.sin(f32(np.pi) * t) * np.sin(f32(np.pi) * t / f32(LANCZOS_RADIUS))
        kernel = np.where(t <= f32(1e-3), f32(1), sines / (f32(np.pi) * f32(np.pi) * t * t))
    kernel = np.where(taps <= last[:, None], kernel, f32(0))
    total = np.zeros(after, f32)
    for tap in range(taps.shape[1]):
        total += kernel[:, tap]
    return np.minimum(taps, before - 1), kernel * (f32(1) / total)[:, None]


def _bilinear_rows(
    image: NDArray[np.float32], lower: NDArray[np.intp], upper: NDArray[np.intp], share: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate axis 0 between two source rows per output row, in float32 (TensorFlow's kernels do the columns first)."""
    low = image[lower]
    mixed: NDArray[np.float32] = low + (image[upper] - low) * share[:, None, None]
    return mixed


@lru_cache(maxsize=32)
def _crop_grid(before: int, after: int, area: float) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Sample points of a centre crop along one axis, in the float32 arithmetic of ``tf.image.crop_and_resize``."""
    one, side = np.float32(1), np.sqrt(np.float32(area))
    begin = (one - side) / np.float32(2)
    end = begin + side
    step = (end - begin) * np.float32(before - 1) / np.float32(after - 1)
    at = begin * np.float32(before - 1) + np.arange(after, dtype=np.float32) * step
    lower = np.floor(at)
    return lower.astype(np.intp), np.ceil(at).astype(np.intp), at - lower


@lru_cache(maxsize=32)
def _half_pixel_grid(before: int, after: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Sample points of a bilinear resize along one axis, pixel centres at half integers, without antialiasing."""
    scale = np.float32(before) / np.float32(after)
    at = (np.arange(after, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
    lower = np.floor(at)
    share = (at - lower).astype(np.float32)
    return np.maximum(lower, 0).astype(np.intp), np.minimum(np.ceil(at), before - 1).astype(np.intp), share


# --- actions ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FlipBinaryGripper(ActionTransform):
    """Gripper g in [0, 1] (1 open) becomes -sign(2g - 1): +1 closes, -1 opens, and 0 where g is exactly one half."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        return _with_gripper(actions, np.sign(2 * actions[:, -1] - 1) * -1.0)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at -1 and closes at +1."""
        self._need((before.gripper_open, before.gripper_closed), (1.0, 0.0), "a gripper (open, closed) of")
        return _respec(before, gripper_open=-1.0, gripper_closed=1.0)


@dataclass(frozen=True)
class BinaryGripper(ActionTransform):
    """Gripper g becomes +1 where it is above the threshold, else -1."""

    threshold: float = 0.5

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        return _with_gripper(actions, 2.0 * (actions[:, -1] > self.threshold) - 1.0)

    def spec(self, before: ActionSpec) -> ActionSpec:
        """What was the larger value is +1 now, the smaller -1."""
        opens_high = before.gripper_open > before.gripper_closed
        return _respec(before, gripper_open=1.0 if opens_high else -1.0, gripper_closed=-1.0 if opens_high else 1.0)


@dataclass(frozen=True)
class StickyGripper(ActionTransform):
    """An absolute gripper in [0, 1] (1 open) becomes the change the Google robot expects, held for a while once it is large.

    The change is the previous value minus the present one, so closing is positive. A change beyond the threshold starts a hold: it
    is repeated for `steps` actions, whatever the policy says meanwhile.
    """

    steps: int = 15
    threshold: float = 0.5

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]; remembers the previous value and the hold."""
        return _with_gripper(actions, np.array([self._next(float(value), memory) for value in actions[:, -1]]))

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The gripper opens at -1 and closes at +1."""
        self._need((before.gripper_open, before.gripper_closed), (1.0, 0.0), "a gripper (open, closed) of")
        return _respec(before, gripper_open=-1.0, gripper_closed=1.0)

    def _next(self, value: float, memory: Memory) -> float:
        change = memory.get("previous", value) - value
        memory["previous"] = value
        if memory.get("held", 0) == 0 and abs(change) > self.threshold:
            memory["held"], memory["change"] = self.steps, change
        if memory.get("held", 0) > 0:
            memory["held"] -= 1
            change = memory["change"]
        return float(change)


@dataclass(frozen=True)
class NegateGripper(ActionTransform):
    """The gripper changes its sign: what opened closes."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        return _with_gripper(actions, -actions[:, -1])

    def spec(self, before: ActionSpec) -> ActionSpec:
        """Both gripper values with the other sign."""
        return _respec(before, gripper_open=-before.gripper_open, gripper_closed=-before.gripper_closed)


@dataclass(frozen=True)
class GripperDeadband(ActionTransform):
    """Gripper values smaller than the width become 0."""

    width: float = 0.01

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A]."""
        gripper = actions[:, -1]
        return _with_gripper(actions, np.where(np.abs(gripper) < gripper.dtype.type(self.width), 0.0, gripper))


@dataclass(frozen=True)
class RescaleEntries(ActionTransform):
    """Entries first .. first + count - 1 are mapped linearly from [-before, before] to [-after, after] and clipped there."""

    first: int
    count: int
    before: float
    after: float

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float[T, A], in the dtype of the actions."""
        rescaled = actions.copy()
        entries = slice(self.first, self.first + self.count)
        scaled = (actions[:, entries] + self.before) / (2 * self.before) * (2 * self.after) - self.after
        rescaled[:, entries] = np.clip(scaled, -self.after, self.after)
        return rescaled


@dataclass(frozen=True)
class EulerToAxisAngle(ActionTransform):
    """Roll, pitch and yaw about fixed axes (entries 3 to 5) become a rotation vector."""

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, 7] -> float64[T, 7]."""
        turned = actions.astype(np.float64)
        for action in turned:
            action[3:6] = euler_to_axis_angle(*action[3:6])
        return turned

    def spec(self, before: ActionSpec) -> ActionSpec:
        """The rotation is an axis times an angle."""
        self._need(before.rotation, "euler_xyz", "a rotation of")
        return _respec(before, rotation="axis_angle")


@dataclass(frozen=True)
class EnsembleActions(ActionTransform):
    """Of overlapping chunks, the weighted mean of what the last few said about now; the policy is asked again at every step.

    SimplerEnv's evaluation of Octo (simpler_env/utils/action/action_ensemble.py) keeps 4 chunks at temperature 0.

    Attributes:
        horizon: Chunks that are remembered; a chunk has at least as many actions.
        temperature: A chunk's weight is exp(-temperature * number of older ones): above 0, older chunks weigh more.
    """

    horizon: int = 4
    temperature: float = 0.0

    def __call__(self, actions: Chunk, memory: Memory) -> Chunk:
        """float[T, A] -> float64[1, A]; remembers the chunks."""
        if len(actions) < self.horizon:
            raise PolicyError(
                f"ensemble_actions remembers {self.horizon} chunks, so a chunk needs as many actions; got {len(actions)}."
            )
        chunks = memory["chunks"] = [*memory.get("chunks", []), actions][-self.horizon :]
        about_now = np.stack([chunk[age] for age, chunk in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True)])
        weights = np.exp(-self.temperature * np.arange(len(chunks)))
        mean: Chunk = np.sum((weights / weights.sum())[:, None] * about_now, axis=0, keepdims=True)
        return mean


def euler_to_axis_angle(roll: float, pitch: float, yaw: float) -> NDArray[np.float64]:
    """Rotation vector float64[3] of rotations about the fixed axes x, y, z in turn, angles in radians.

    The arithmetic is that of transforms3d's ``euler2axangle`` to the last bit; rotations below about 1e-8 come out as none.
    """
    cr, sr = math.cos(roll / 2), math.sin(roll / 2)
    cp, sp = math.cos(pitch / 2), math.sin(pitch / 2)
    cy, sy = math.cos(yaw / 2), math.sin(yaw / 2)
    both, tail, head, none = cr * cy, cr * sy, sr * cy, sr * sy
    quat_wxyz = np.array([cp * both + sp * none, cp * head - sp * tail, cp * none + sp * both, cp * tail - sp * head])
    norm = float(np.sum(quat_wxyz**2))
    if norm != 1:
        quat_wxyz = quat_wxyz / math.sqrt(norm)
    vector = quat_wxyz[1:]
    length = math.sqrt(float(np.sum(vector**2)))
    if length < 3 * float(np.finfo(np.float64).eps):
        return np.zeros(3)
    angle = 2 * math.acos(max(min(float(quat_wxyz[0]), 1.0), -1.0))
    axis_angle: NDArray[np.float64] = vector / length * angle
    return axis_angle


def _with_gripper(actions: Chunk, gripper: NDArray[Any]) -> Chunk:
    changed = actions.copy()
    changed[:, -1] = gripper
    return changed


def _respec(before: ActionSpec, **changes: Any) -> ActionSpec:
    """The spec with some fields changed; the gripper's range follows its two values."""
    after = replace(before, **changes)
    gripper = sorted((after.gripper_open, after.gripper_closed))
    return replace(after, low=(*before.low[:-1], gripper[0]), high=(*before.high[:-1], gripper[1]))


# --- by name ----------------------------------------------------------------------------------------------------------------------


# The names that recipes use.
IMAGE_TRANSFORMS: dict[str, type[ImageTransform]] = {
    "mirror_horizontally": MirrorHorizontally,
    "jpeg_round_trip": JpegRoundTrip,
    "lanczos3_resize": Lanczos3Resize,
    "center_crop": CenterCrop,
    "resize_with_pad": ResizeWithPad,
    "area_resize": AreaResize,
}
ACTION_TRANSFORMS: dict[str, type[ActionTransform]] = {
    "flip_binary_gripper": FlipBinaryGripper,
    "binary_gripper": BinaryGripper,
    "sticky_gripper": StickyGripper,
    "negate_gripper": NegateGripper,
    "gripper_deadband": GripperDeadband,
    "rescale_entries": RescaleEntries,
    "euler_to_axis_angle": EulerToAxisAngle,
    "ensemble_actions": EnsembleActions,
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


def _build(kind: str, known: Mapping[str, type[Any]], entry: str | Mapping[str, Any]) -> Any:
    if isinstance(entry, Mapping) and len(entry) != 1:
        raise ConfigError(f"a {kind} is a name or {{name: arguments}}; got {dict(entry)!r}.")
    name, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
    if name not in known:
        raise unknown_name(kind, name, known)
    try:
        return known[name](**(arguments or {}))
    except TypeError as error:
        takes = ", ".join(field.name for field in fields(known[name])) or "no arguments"
        raise ConfigError(f"{kind} {name!r} takes {takes}; got {arguments!r}.") from error


def describe(transforms: Sequence[ImageTransform | ActionTransform]) -> list[str]:
    """One readable line per transform, for provenance."""
    return [
        f"{type(t).__name__}({', '.join(f'{k}={v!r}' for k, v in dataclasses.asdict(t).items())})"  # type: ignore[call-overload]
        for t in transforms
    ]


def check_image(image: Any, camera: str) -> Image:
    """The image of a camera, if it is one.

    Raises:
        PolicyError: It is not uint8[H, W, 3] with at least one pixel.
    """
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise PolicyError(
            f"image {camera!r} must be uint8[height, width, 3] with at least one pixel; got {array.dtype}{list(array.shape)}."
        )
    return array
