"""Benchmarks: one folder each, all behind the contract in `vlagym.envs.base`.

Importing this package registers ``vlagym/<suite>-v0`` with gymnasium, so ``gymnasium.make("vlagym.envs:vlagym/libero_goal-v0")``
works anywhere.
"""

from .checker import check_suite
from .env import ChunkResult, StepOutcome, VlaEnv
from .registry import BENCHMARKS, make_env, make_suite, register_gymnasium_envs
from .spec import ActionSpec, Observation, StateField, StateSpec, Task
from .suite import Check, Suite

__all__ = [
    "BENCHMARKS",
    "ActionSpec",
    "Check",
    "ChunkResult",
    "Observation",
    "StateField",
    "StateSpec",
    "StepOutcome",
    "Suite",
    "Task",
    "VlaEnv",
    "check_suite",
    "make_env",
    "make_suite",
]

register_gymnasium_envs()
