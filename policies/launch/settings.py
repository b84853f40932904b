"""The settings of a launch: what ``policy.launch``, ``policy.environment`` and ``policy.start_timeout_s`` mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..._registry import import_target
from ...errors import ConfigError
from ..base import Policy
from .environment import LaunchEnvironment, light_package
from .policy import LaunchedPolicy
from .server import LaunchedServer, check_command

SETTINGS = ("launch", "environment", "start_timeout_s")
# Policies whose server is ours, so that nobody has to say how it is started: name -> what gives the command for the settings.
_OWN_SERVERS = {"lerobot": "vlagym.policies.lerobot.launch:command"}
# What a url begins with where it is not a websocket's.
_SCHEMES = {"groot": "tcp", "openvla_rest": "http", "openvla_oft_rest": "http", "xvla": "http"}
_OWN_NEEDS = ("msgpack>=1.0.4", "websockets>=15")


class Launch:
    """A server that belongs to a policy, not started yet.

    Args:
        settings: Of the policy, those of the launch included.

    Raises:
        ConfigError: The policy knows no servers, or a setting has no meaning.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        name = settings["name"]
        if "url" not in settings:
            raise ConfigError(f"policy {name!r} runs in this process; policy.launch and policy.environment are for servers.")
        self._own = _OWN_SERVERS.get(name)
        self._settings = dict(settings)
        self._command: str | Sequence[str] = settings.get("launch") or _own_command(self._own, settings)
        self._start_timeout_s = settings.get("start_timeout_s", 900)
        if not 0 < self._start_timeout_s < 10**6:
            raise ConfigError(f"policy.start_timeout_s must be seconds above 0; got {self._start_timeout_s}.")
        check_command(self._command)

    def make(self, make: Callable[[dict[str, Any]], Policy]) -> Policy:
        """Start the server and make the policy that asks it; closing the policy ends the server.

        Args:
            make: Given the policy's own settings, with the url that leads to the server.

        Raises:
            ConfigError: There is no such environment.
            DependencyError: uv is needed and not installed, or could not make the environment.
            PolicyError: The server ended, or does not listen in time.
        """
        with ExitStack() as opened:
            light = opened.enter_context(light_package()) if self._own else None
            needs, paths = (_OWN_NEEDS, (light,)) if light else ((), ())
            environment = LaunchEnvironment.find(self._settings.get("environment"), needs, paths)
            server = opened.enter_context(LaunchedServer(self._command, environment, self._start_timeout_s))
            server.start()
            policy = make({**without_launch(self._settings), "url": self.url(server.port)})
            return LaunchedPolicy(policy, server, opened.pop_all())
        raise AssertionError("an ExitStack hides no exceptions")

    def url(self, port: int) -> str:
        """Where its client finds the server: ``policy.url``, or what its protocol says, with this machine and port."""
        parts = urlsplit(self._settings["url"] or f"{_SCHEMES.get(self._settings['name'], 'ws')}://127.0.0.1")
        return urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}"))


def launch_of(settings: Mapping[str, Any]) -> Launch | None:
    """The server that a policy's settings ask for; None if they ask for none, or give the address of one that runs already.

    Raises:
        ConfigError: A setting has no meaning.
    """
    own = settings["name"] in _OWN_SERVERS and settings.get("url") is None
    if own or settings.get("launch") is not None:
        return Launch(settings)
    if settings.get("environment") is not None:
        raise ConfigError("policy.environment says where a server runs; policy.launch must say how it is started.")
    if "url" in settings and settings["url"] is None:
        raise ConfigError(
            f"policy={settings['name']} needs policy.url=ADDRESS of a server that runs, or policy.launch=COMMAND that starts one."
        )
    return None


def without_launch(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A policy's own settings."""
    return {key: value for key, value in settings.items() if key not in SETTINGS}


def _own_command(own: str | None, settings: Mapping[str, Any]) -> Sequence[str]:
    assert own is not None
    command: Callable[[Mapping[str, Any]], list[str]] = import_target(own)
    return command(settings)
