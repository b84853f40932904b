"""Benchmarks: one folder each, all behind the contract in `vlagym.envs.base`.

Importing this package registers ``vlagym/<suite>-v0`` with gymnasium, so ``gymnasium.make("vlagym.envs:vlagym/libero_goal-v0")``
works anywhere.
"""

from .registry import register_gymnasium_envs

register_gymnasium_envs()
