"""``policy=lerobot``: the client of the server beside this file, started in LeRobot's environment unless a url is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ...envs.suite import Suite
from ...errors import ConfigError
from ..pipeline import Recipe
from ..remote.openpi import OpenpiWire
from ..remote.policy import RemotePolicy, check_remote, make_pipeline

# What the server is started with (`launch`); its answers show in its metadata, which is recorded.
_SERVERS_OWN = ("checkpoint", "device", "executes", "max_batch", "rename", "overrides")


def make_lerobot(suite: Suite, request: Mapping[str, Any] | None = None, **settings: Any) -> RemotePolicy:
    """A policy of LeRobot's; the settings are described in conf/policy/lerobot.yaml.

    Raises:
        ConfigError: A setting is wrong, or the checkpoint looks at what the recipe does not send.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(("ws", "wss"), {k: v for k, v in settings.items() if k not in _SERVERS_OWN})
    pipeline, form = make_pipeline(suite, "lerobot", request, cast(Recipe, recipe))
    wire = OpenpiWire()
    link = connection.link(wire)
    try:
        metadata = link.facts()["metadata"]
        _check(metadata, [*form.images, *form.state], pipeline.emitted.size, settings.get("rename") or {})
        return RemotePolicy("lerobot", pipeline, form, connection, OpenpiWire, (link, wire), None, None)
    except BaseException:
        link.close()
        pipeline.close()
        raise


def _check(metadata: Mapping[str, Any], sent: Sequence[str], size: int, rename: Mapping[str, str]) -> None:
    if not str(metadata.get("policy")).startswith("lerobot/"):
        raise ConfigError("policy.url leads to a server that is not LeRobot's of vlagym; for openpi's kind use policy=openpi.")
    known = {rename.get(key, key) for key in sent}
    missing = [name for name in metadata["inputs"] if name.startswith("observation.images.") and name not in known]
    if missing:
        raise ConfigError(
            f"the checkpoint looks at {missing[0]}; the recipe sends {', '.join(sent)}. Map names with policy.rename="
            "{observation.images.image: THEIRS}."
        )
    found = metadata["outputs"].get("action")
    if found != [size]:
        raise ConfigError(f"the checkpoint's actions have shape {found}; the recipe expects [{size}].")
