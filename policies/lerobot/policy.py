"""``policy=lerobot``: the client of the server beside this file, started in LeRobot's environment unless a url is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import Unpack

from ...edges.settings import Chunks, Count, Name, Text
from ...envs.suite import Suite
from ...errors import ConfigError
from ..remote.openpi import OpenpiWire
from ..remote.policy import RemotePolicy, RemoteSettings, check_remote, make_pipeline


def make_lerobot(
    suite: Suite,
    request: Mapping[str, Any] | None = None,
    checkpoint: Text | None = None,
    device: Name | None = None,
    executes: Chunks | None = None,
    max_batch: Count | None = None,
    rename: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    **settings: Unpack[RemoteSettings],
) -> RemotePolicy:
    """A policy of LeRobot's; the settings are described in conf/policy/lerobot.yaml.

    What of them the server was started with (see `vlagym.policies.lerobot.launch`) is used there; its metadata, which is recorded,
    says what came of it.

    Raises:
        ConfigError: A setting is wrong, or the checkpoint looks at what the recipe does not send.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(("ws", "wss"), settings)
    pipeline, form = make_pipeline(suite, "lerobot", request, recipe)
    wire = OpenpiWire()
    link = connection.link(wire)
    try:
        metadata = link.facts()["metadata"]
        _check(metadata, [*form.images, *form.state], pipeline.emitted.size, rename or {})
        for name, wanted in (("checkpoint", checkpoint), ("executes", executes)):
            if wanted is not None and metadata[name] != wanted:
                raise ConfigError(f"the server at policy.url runs with {name} {metadata[name]!r}, not policy.{name}={wanted}.")
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
