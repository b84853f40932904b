"""Policies: one file or folder per adapter, all behind the contract in `vlagym.policies.base`."""

from .base import Policy, PolicyObservation, episode_generator
from .checker import check_policy
from .registry import POLICIES, make_policy

__all__ = ["POLICIES", "Policy", "PolicyObservation", "check_policy", "episode_generator", "make_policy"]
