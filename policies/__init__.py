"""Policies: one file or folder per adapter, all behind the contract in `vlagym.policies.base`.

Names are imported when they are used: a server of one's own (`serve`) runs where NumPy, websockets and msgpack are all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Policy, PolicyObservation, episode_generator
    from .checker import check_policy
    from .own import from_function
    from .registry import POLICIES, make_policy
    from .serving.server import serve

__all__ = [
    "POLICIES",
    "Policy",
    "PolicyObservation",
    "check_policy",
    "episode_generator",
    "from_function",
    "make_policy",
    "serve",
]

_MODULES = {
    "POLICIES": "registry",
    "Policy": "base",
    "PolicyObservation": "base",
    "check_policy": "checker",
    "episode_generator": "base",
    "from_function": "own",
    "make_policy": "registry",
    "serve": "serving.server",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
