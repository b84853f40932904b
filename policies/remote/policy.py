"""A policy that answers from a server: a recipe around a wire format, with one seat per connection."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import numpy as np

from ...edges.settings import Count, Name, Seconds, Text
from ...envs.suite import Suite
from ...errors import ConfigError, PolicyError
from ..base import Chunk, Policy, PolicyObservation
from ..packages import require
from ..pipeline import Pipeline, Recipe
from .base import Question, Wire
from .channels import open_channel
from .link import Link
from .request import RequestForm


class RemoteSettings(Recipe, total=False):
    """The settings of every policy that answers from a server: those of `Connection`, and a recipe's."""

    url: Text | None
    connections: Count | None
    timeout_s: Seconds
    patience_s: Seconds
    api_key_env: Name | None


@dataclass(frozen=True)
class Connection:
    """How to reach a server; the settings ``url``, ``connections``, ``timeout_s``, ``patience_s`` and ``api_key_env`` of a policy.

    Attributes:
        url: Where it is.
        connections: How many to make; None for what suits the server.
        timeout_s: Longest time for an answer. A first one may take minutes, while a server compiles its model.
        patience_s: How long to go on trying to reach a server that is not there.
        api_key_env: Environment variable that holds an api key; the key itself is never recorded.
    """

    url: str
    connections: int | None = None
    timeout_s: float = 300.0
    patience_s: float = 60.0
    api_key_env: str | None = None

    def checked(self, schemes: Sequence[str]) -> Connection:
        """This, if it can be used.

        Raises:
            ConfigError: A setting is wrong, or the api key is not in the environment.
        """
        parts = urlsplit(self.url) if isinstance(self.url, str) else None
        if parts is None or parts.scheme not in schemes or not parts.hostname:
            example = f"{schemes[0]}://127.0.0.1:8000"
            raise ConfigError(f"policy.url must be the server's address, e.g. {example}; got {self.url!r}.")
        self.api_key()
        return self

    def api_key(self) -> str | None:
        """The key, if one is to be sent.

        Raises:
            ConfigError: The environment does not have it.
        """
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env)
        if not key:
            raise ConfigError(f"policy.api_key_env={self.api_key_env}: there is no such environment variable, or it is empty.")
        return key

    def link(self, wire: Wire) -> Link:
        """A connection, not made yet."""
        key = self.api_key()
        scheme = "Bearer" if self.url.startswith("http") else "Api-Key"
        headers = {} if key is None else {"Authorization": f"{scheme} {key}"}
        return Link(self.url, lambda: open_channel(self.url, self.timeout_s, headers), wire, self.patience_s)


class RemotePolicy(Policy):
    """Answers by asking a server.

    Args:
        name: Of the policy, for messages and the record.
        pipeline: What is done to images, state and actions.
        form: How a request is laid out.
        connection: How the server is reached.
        make_wire: Makes a wire format for one connection.
        first: The connection that has been made already.
        executes: Actions of a chunk that are executed; None for all.
        max_batch: Most observations in a request, where the format takes several.
    """

    precise_state = True

    def __init__(
        self,
        name: str,
        pipeline: Pipeline,
        form: RequestForm,
        connection: Connection,
        make_wire: Callable[[], Wire],
        first: tuple[Link, Wire],
        executes: int | None,
        max_batch: int | None,
    ) -> None:
        self._link, wire = first
        if wire.one_at_a_time and (connection.connections or 1) > 1:
            raise ConfigError(f"{name} servers must not be asked two things at once: leave policy.connections at 1.")
        self.action_spec = pipeline.action_spec
        self.cameras = pipeline.cameras
        self.max_batch = max_batch if wire.batches else 1
        self.episodes_stay = wire.stateful
        self.max_episodes = 1 if wire.stateful else None
        self._name, self._pipeline, self._form, self._executes = name, pipeline, form, executes
        self._connection, self._make_wire = connection, make_wire
        self._seats = [_Seat(self._link, self)]

    def seats(self, at_once: int) -> Sequence[Policy]:
        wanted = self._connection.connections or (at_once if self.episodes_stay else min(at_once, self._make_wire().connections))
        while len(self._seats) < wanted:
            self._seats.append(_Seat(self._connection.link(self._make_wire()), self))
        return self._seats[:wanted]

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._seats[0].reset(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return self._seats[0].act(observations)

    def release(self, episode_ids: Sequence[str]) -> None:
        self._seats[0].release(episode_ids)

    def provenance(self) -> dict[str, Any]:
        return {
            "server": self._link.facts(),
            "recipe": self._pipeline.provenance(),
            "request": asdict(self._form),
            "executes": self._executes,
            "randomness": "the server's own: this run's seeds do not reach it",
        }

    def close(self) -> None:
        for seat in self._seats:
            seat.close()
        self._pipeline.close()

    def ask(self, link: Link, observations: Sequence[PolicyObservation], fresh: set[str]) -> list[Chunk]:
        """The chunks of observations, asked for on a connection."""
        questions = self._form.questions(self._pipeline, observations)
        size = self.max_batch or len(questions)
        chunks: list[Chunk] = []
        for start in range(0, len(questions), size):
            batch = questions[start : start + size]
            answers = link.ask(batch, [question for question in batch if question.episode_id in fresh])
            chunks += [self._checked(question, chunk) for question, chunk in zip(batch, answers, strict=True)]
        return [self._pipeline.actions(observation, chunk) for observation, chunk in zip(observations, chunks, strict=True)]

    def begin(self, episode_ids: Sequence[str]) -> None:
        """Episodes begin: what transforms remember of them is dropped."""
        self._pipeline.reset(episode_ids)

    def forget(self, episode_ids: Sequence[str]) -> None:
        """Episodes are over."""
        self._pipeline.release(episode_ids)

    def _checked(self, question: Question, chunk: Chunk) -> Chunk:
        """The part of a server's chunk that is executed.

        Raises:
            PolicyError: It is too short, too narrow or too wide, or a number in it is not finite.
        """
        where = f"the {self._name} server's answer for episode {question.episode_id} at step {question.step}"
        size = self._pipeline.emitted.size
        if chunk.shape[1] != size:
            raise PolicyError(f"{where} has actions of {chunk.shape[1]} numbers; the recipe expects {size}.")
        if self._executes is not None and len(chunk) < self._executes:
            raise PolicyError(f"{where} has {len(chunk)} actions; the recipe executes {self._executes} (policy.executes).")
        if not np.isfinite(chunk).all():
            row = chunk[~np.isfinite(chunk).all(axis=1)][0]
            raise PolicyError(f"{where} has a number that is not finite: {row.tolist()}.")
        return chunk[: self._executes]


class _Seat(Policy):
    """One connection of a remote policy."""

    def __init__(self, link: Link, owner: RemotePolicy) -> None:
        self._link, self._owner = link, owner
        self._fresh: set[str] = set()

    def reset(self, episode_ids: Sequence[str]) -> None:
        self._fresh |= set(episode_ids)
        self._owner.begin(episode_ids)

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        chunks = self._owner.ask(self._link, observations, self._fresh)
        self._fresh -= {observation["episode_id"] for observation in observations}
        return chunks

    def release(self, episode_ids: Sequence[str]) -> None:
        for episode_id in episode_ids:
            self._link.end(episode_id)
        self._owner.forget(episode_ids)

    def close(self) -> None:
        self._link.close()


def check_remote(schemes: Sequence[str], settings: Mapping[str, object]) -> tuple[Connection, Recipe]:
    """The settings about the connection, checked, and the recipe's.

    Raises:
        ConfigError: One is wrong.
        DependencyError: The packages of the extra ``remote`` are not installed.
    """
    packages = {"ws": ["websockets", "msgpack"], "tcp": ["zmq", "msgpack"], "http": ["urllib3"]}[schemes[0]]
    require([*packages, "pillow"], "remote")
    recipe = {name: value for name, value in settings.items() if name in Recipe.__annotations__}
    reached: dict[str, Any] = {name: value for name, value in settings.items() if name not in recipe}
    return Connection(**reached).checked(schemes), cast(Recipe, recipe)


def make_pipeline(suite: Suite, policy: str, request: Mapping[str, Any] | None, recipe: Recipe) -> tuple[Pipeline, RequestForm]:
    """The recipe's two halves: what is done to images, state and actions, and how a request is laid out.

    Raises:
        ConfigError: There is no recipe for this pair, or it cannot be read.
    """
    from ..pipeline import no_recipe

    if request is None:
        raise no_recipe(suite, policy, ["request", *(name for name in Recipe.__annotations__ if recipe.get(name) is None)])
    form = RequestForm.from_recipe(request)
    return Pipeline(suite, policy, {**recipe, "cameras": form.cameras}), form
