"""A policy that is an object of the caller's process, such as a network in the middle of its training."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ...envs.suite import Suite
from ...errors import ConfigError
from ...policies.audit import batch_record
from ...policies.base import Policy
from ...policies.own import check_made, from_function
from ...policies.registry import check_fit
from ...policies.wrapped import WrappedPolicy

LIVE = "live"  # marks the settings of such a policy: no setting names it


class LivePolicy(WrappedPolicy):
    """What the runner is given: it asks the policy in the thread of whoever called, and leaves it open afterwards.

    In that thread device, autocasting and gradient mode are the caller's; in another one they would be torch's defaults.

    Args:
        policy: The caller's.
        suite: What it is evaluated on.
    """

    def __init__(self, policy: Policy, suite: Suite) -> None:
        super().__init__(policy)
        self.instant = True
        self.batch_record = batch_record(policy, suite)

    def seats(self, at_once: int) -> Sequence[Policy]:
        seats = super().seats(at_once)
        return [self] if list(seats) == [self._policy] else seats

    def provenance(self) -> dict[str, Any]:
        return {LIVE: name_of(self._policy), **super().provenance()}

    def close(self) -> None:
        """It goes on living."""


def name_of(policy: Any) -> str:
    """What an object is called in a run: its function, or its class."""
    name = getattr(policy, "__name__", None) or type(policy).__name__
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name)[:100] or "policy"


def live_policy(policy: Any) -> Callable[[Suite], Policy]:
    """Makes the runner's policy of what the caller has, for a suite.

    Args:
        policy: A `Policy`; its class or another function whose first argument is called ``suite`` and which returns one; or a
            function of an observation (`vlagym.policies.from_function`).

    Raises:
        ConfigError: It is none of these.
    """
    if not isinstance(policy, Policy) and not callable(policy):
        raise ConfigError(
            f"evaluate was given {type(policy).__name__}; a policy's name, a vlagym.policies.Policy, or a function of an "
            "observation is expected."
        )

    def make(suite: Suite) -> Policy:
        made = policy if isinstance(policy, Policy) else _factory(policy)(suite)
        check_made(name_of(policy), made)
        check_fit(name_of(policy), suite, made.action_spec, made.cameras)
        return LivePolicy(made, suite)

    return make


def _factory(function: Callable[..., Any]) -> Callable[..., Policy]:
    if inspect.isclass(function):
        if not issubclass(function, Policy):
            raise ConfigError(f"evaluate was given the class {function.__name__}, which is no vlagym.policies.Policy.")
        return function
    first = next(iter(inspect.signature(function).parameters), None)
    return function if first == "suite" else from_function(function)
