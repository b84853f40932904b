"""The contract in one place, for those who implement it: ``from vlagym.envs.base import Suite, VlaEnv, ActionSpec, ...``.

Its parts are in `vlagym.envs.spec` (the words), `vlagym.envs.env` (the simulator) and `vlagym.envs.suite` (the descriptor).
"""

from .env import ChunkResult, StageClock, StepOutcome, VlaEnv
from .spec import MAX_INSTRUCTION_LENGTH, ActionSpec, Observation, StateField, StateSpec, SuiteSettings, Task
from .suite import Check, StockEpisode, Suite, protocol_sha256

__all__ = [
    "MAX_INSTRUCTION_LENGTH",
    "ActionSpec",
    "Check",
    "ChunkResult",
    "Observation",
    "StageClock",
    "StateField",
    "StateSpec",
    "StepOutcome",
    "StockEpisode",
    "Suite",
    "SuiteSettings",
    "Task",
    "VlaEnv",
    "protocol_sha256",
]
