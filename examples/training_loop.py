"""A training loop that evaluates its network every so many steps, on the benchmark's own protocol, without leaving the process.

    python examples/training_loop.py

A small network learns to imitate a scripted expert from the states and actions of a few of its episodes. The workers of the first
evaluation serve the later ones, so that these cost no start; random generators and torch's modes are left as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

import vlagym
from vlagym.envs.suite import Suite
from vlagym.eval.tables.runs import Run
from vlagym.policies import Policy, PolicyObservation
from vlagym.policies.registry import make_policy


class Watched(Policy):
    """An expert whose states and actions are kept."""

    def __init__(self, expert: Policy) -> None:
        self.expert = expert
        self.action_spec, self.cameras = expert.action_spec, expert.cameras
        self.needs_privileged_state = expert.needs_privileged_state
        self.states: list[Any] = []
        self.actions: list[Any] = []

    def reset(self, episode_ids: Sequence[str]) -> None:
        self.expert.reset(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Any]:
        chunks = self.expert.act(observations)
        self.states += [observation["state"] for observation in observations]
        self.actions += [chunk[0] for chunk in chunks]
        return chunks


class Imitator(nn.Module):
    """From a robot's state to an action."""

    def __init__(self, states: int, actions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(states, 64), nn.ReLU(), nn.Linear(64, actions), nn.Tanh())

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        actions: torch.Tensor = self.layers(states)
        return actions

    @torch.no_grad()
    def policy(self, observation: Mapping[str, Any]) -> Any:
        """What `vlagym.evaluate` asks: an observation in, an action out."""
        return self(torch.from_numpy(np.asarray(observation["state"], np.float32))).numpy()


def main(suite: str = "robosuite", expert: str = "scripted", rounds: int = 3, **settings: Any) -> list[Run]:
    """Train and evaluate in turn; returns the evaluations."""
    settings = {"tasks": [0], "video": "none", **settings}
    watched: list[Watched] = []

    def watch(suite: Suite) -> Policy:
        watched.append(Watched(make_policy({"name": expert}, suite)))
        return watched[-1]

    print(vlagym.evaluate(watch, suite, **settings))
    states, actions = (torch.tensor(np.array(kept), dtype=torch.float32) for kept in (watched[0].states, watched[0].actions))

    torch.manual_seed(0)
    network = Imitator(states.shape[1], actions.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    runs = []
    for number in range(rounds):
        for _ in range(200):
            loss = nn.functional.mse_loss(network(states), actions)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        run = vlagym.evaluate(network.policy, suite, **settings)
        print(f"round {number + 1}: loss {loss.item():.4f}, success {100 * run.success_rate:.1f} %")
        runs.append(run)
    return runs


if __name__ == "__main__":
    main()
