"""Scripted experts: policies that read the simulator's privileged state and emit the same actions as any other policy."""

from .policy import EXPERTS, Expert, ScriptedPolicy, make_scripted_policy

__all__ = ["EXPERTS", "Expert", "ScriptedPolicy", "make_scripted_policy"]
