"""What a vla-eval server wants of the benchmark (its ``observation_params``) and says of actions: obeyed, or refused by name.

vla-eval's own benchmarks set themselves up by it: a server whose wishes were ignored would see other inputs than it was made for.
Sources: allenai/vla-evaluation-harness e1ee9ad (benchmarks/libero, simpler_env, calvin; docs/reproductions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...envs.suite import Suite
from ...errors import ConfigError
from ..pipeline import Recipe

_FORMATS = {"delta_xyz": ("mode", "delta"), "absolute_xyz": ("mode", "absolute"), "axis_angle": ("rotation", "axis_angle")}


def obey(
    suite: Suite, facts: Mapping[str, Any], request: Mapping[str, Any] | None, recipe: Recipe
) -> tuple[dict[str, Any] | None, Recipe]:
    """The request and the recipe as a server wants them.

    Raises:
        ConfigError: It wants what this suite does not have, or something unknown; or its actions are of another kind.
    """
    if request is None:
        return None, recipe
    wishes = dict(facts.get("observation_params") or {})
    sees_wrist, has_state = bool(wishes.pop("send_wrist_image", False)), bool(wishes.pop("send_state", False))
    images = dict(request.get("images") or {})
    if sees_wrist and "wrist" not in images.values():
        raise ConfigError(f"the server wants an image of the wrist camera (send_wrist_image); {suite.name} has none in its recipe.")
    if not sees_wrist:
        images = {key: camera for key, camera in images.items() if camera != "wrist"}
    transforms = list(recipe.get("state_transforms") or ())
    if wishes.pop("quat_no_antipodal", False):
        transforms = [transform for transform in transforms if transform != "shortest_axis_angle"]
    emits = dict(recipe.get("emits") or {})
    if wishes.get("absolute_action") and suite.action_spec.mode == "absolute" and emits.get("rotation") == "axis_angle":
        emits |= {"mode": "absolute", "unit": "m_rad"}
    for name in list(wishes):
        _check_wish(suite, name, wishes.pop(name), emits)
    _check_actions(facts.get("action_spec") or {}, emits)
    image_transforms = recipe.get("image_transforms")
    if isinstance(image_transforms, Mapping):
        image_transforms = {camera: named for camera, named in image_transforms.items() if camera in images.values()}
    form = {**request, "images": images, "state": request.get("state") or {} if has_state else {}}
    return form, {**recipe, "state_transforms": transforms, "image_transforms": image_transforms, "emits": emits}


def _check_wish(suite: Suite, name: str, value: Any, emits: Mapping[str, Any]) -> None:
    """Compare a wish with what the suite has, and the recipe says of the server's actions."""
    horizons = {task.horizon for task in suite.tasks()}
    scene_seed = getattr(suite, "scene_seed", None)
    has: dict[str, tuple[object, str]] = {
        "env_seed": (scene_seed, "suite.scene_seed"),
        "seed": (scene_seed, "suite.scene_seed"),
        "absolute_action": (emits.get("mode") == "absolute", "suite.control=absolute on LIBERO; elsewhere a recipe of one's own"),
        "max_episode_steps": (next(iter(horizons)) if len(horizons) == 1 else sorted(horizons), "suite.horizon"),
        "success_mode": ({"at_end": "truncation", "ever": "accumulate"}[suite.success_rule], "the suite's rule of success"),
        "deterministic_episodes": (True, "the suite's protocol"),
        "max_steps": (next(iter(horizons)) if len(horizons) == 1 else sorted(horizons), "suite.horizon"),
        "num_steps_wait": (getattr(suite, "settle_steps", None), "suite.settle_steps"),
    }
    if name not in has:
        raise ConfigError(f"the server wants {name}={value!r} of the benchmark, which vlagym does not know: it cannot be obeyed.")
    found, setting = has[name]
    if found != value:
        raise ConfigError(f"the server wants {name}={value!r} of the benchmark; here it is {found!r} ({setting}).")


def _check_actions(described: Mapping[str, Any], emits: Mapping[str, Any]) -> None:
    """Compare the formats of the server's actions with what the recipe says of them."""
    for part in described.values():
        kind = part.get("format") if isinstance(part, Mapping) else None
        if kind in _FORMATS:
            field, meaning = _FORMATS[kind]
            if emits.get(field) not in (None, meaning):
                raise ConfigError(f"the server's actions are {kind}; the recipe says {field} {emits[field]!r} (policy.emits).")
