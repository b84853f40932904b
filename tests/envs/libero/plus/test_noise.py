"""Every kind and severity of noise gives upstream's pixels and makes upstream's draws."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from vlagym.envs.libero.plus.noise import Noise, NoiseStream, noise
from vlagym.envs.libero.plus.pixels import compiled


@pytest.fixture(scope="module")
def recorded(golden: Path) -> Path:
    return golden / "perturbations" / "plus"


def load(folder: Path, name: str) -> tuple[dict, np.ndarray]:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    picture = iio.imread(folder / content["image"])[..., :3]
    assert hashlib.sha256(picture.tobytes()).hexdigest() == content["image_sha256"]
    return content, picture


def sha256(picture: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()


def test_every_noise_but_motion_is_upstreams_and_leaves_the_generator_where_upstream_does(recorded: Path) -> None:
    content, picture = load(recorded, "noise_functions.json")
    assert len(content["noise"]) == 40
    for number, expected in content["noise"].items():
        generator = np.random.RandomState(1000 + int(number))
        kind = noise(int(number))
        assert sha256(kind.apply(picture, kind.draw(generator))) == expected["sha256"], number
        _, key, pos, *_ = generator.get_state()
        after = hashlib.sha256(key.astype("<u4").tobytes() + int(pos).to_bytes(4, "little")).hexdigest()
        assert after == expected["generator_after"], number


def test_motion_blur_is_imagemagicks(recorded: Path) -> None:
    content, picture = load(recorded, "motion_functions.json")
    assert len(content["motion"]) == 30
    for name, expected in content["motion"].items():
        number, seed = map(int, name.split("/"))
        kind = noise(number)
        angle = kind.draw(np.random.RandomState(seed))
        assert angle == expected["angle"]
        assert sha256(kind.apply(picture, angle)) == expected["sha256"], name


def test_gaussian_sums_in_scipys_order() -> None:
    """To the last bit, which decides between two grey levels."""
    from scipy.ndimage import correlate1d

    picture = np.random.RandomState(0).rand(256, 256, 3)
    for sigma in (0.5, 1.1, 2.5, 10.0):
        radius = int(4 * sigma + 0.5)
        kernel = np.exp(-0.5 / sigma**2 * np.arange(-radius, radius + 1) ** 2)
        by_rows = correlate1d(picture, kernel, 0, mode="nearest")
        assert np.array_equal(compiled().smooth(picture, kernel), correlate1d(by_rows, kernel, 1, mode="nearest"))


def test_before_eaf6577_glass_left_the_border_alone() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    new, old = noise(50), noise(50, "8a787e5")
    drawn = [kind.draw(np.random.RandomState(0)) for kind in (new, old)]
    assert [len(draws) for draws in drawn] == [(256 - 10) ** 2, (224 - 10) ** 2]
    pictures = [kind.apply(picture, draws) for kind, draws in zip((new, old), drawn, strict=True)]
    # The second blur reaches ten pixels; beyond that, the lower right corner is only blurred.
    unmoved = Noise(lambda generator: None, lambda image, _: image)
    assert unmoved.draw(np.random.RandomState(0)) is None
    assert not np.array_equal(*pictures)
    assert not np.array_equal(pictures[0][236:246, 236:246], pictures[1][236:246, 236:246])


def test_frames_may_be_drawn_in_any_order_and_again() -> None:
    picture = np.full((256, 256, 3), 120, np.uint8)
    for number in (5, 35, 45):
        state = np.random.RandomState(3).get_state()
        one, other = NoiseStream(noise(number), state), NoiseStream(noise(number), state)
        forwards = [one.apply(picture, frame) for frame in range(4)]
        backwards = [other.apply(picture, frame) for frame in (3, 2, 1, 0, 3)]
        for frame, expected in enumerate(forwards):
            assert np.array_equal(backwards[3 - frame], expected)
        assert np.array_equal(backwards[4], forwards[3])
