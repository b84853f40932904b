"""The policies by family of server: what each is asked in, what it says of itself, and whether that fits the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from typing_extensions import Unpack

from ...edges.settings import Chunks, Count, Name
from ...envs.suite import Suite
from ...errors import ConfigError
from .base import Wire
from .groot import GrootWire
from .openpi import OpenpiWire
from .openvla_rest import OpenvlaRestWire
from .policy import Connection, RemotePolicy, RemoteSettings, check_remote, make_pipeline
from .request import RequestForm
from .starvla import StarvlaWire
from .vla_eval import VlaEvalWire
from .vla_eval_params import obey
from .xvla import XvlaWire

_WEBSOCKET, _ZMQ, _HTTP = ("ws", "wss"), ("tcp",), ("http", "https")


def make_openpi(
    suite: Suite,
    request: Mapping[str, Any] | None = None,
    executes: Chunks | None = None,
    sglang_keys: Mapping[str, str] | None = None,
    **settings: Unpack[RemoteSettings],
) -> RemotePolicy:
    """A client of openpi's server and its dialects.

    Raises:
        ConfigError: A setting is wrong, or the server is not what the recipe is for.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(_WEBSOCKET, settings)

    def make_wire() -> OpenpiWire:
        return OpenpiWire(sglang_keys)

    wire = make_wire()
    built = make_pipeline(suite, "openpi", request, recipe)
    policy = _connect("openpi", built, connection, wire, make_wire, executes)
    metadata = policy.provenance()["server"]["metadata"]
    described = metadata.get("output", metadata) if isinstance(metadata.get("output", metadata), dict) else metadata
    _check("action_dim", described.get("action_dim"), built[0].emitted.size, policy)
    _check_horizon(described.get("action_horizon"), executes, policy)
    if metadata.get("needs_wrist_camera") and "wrist" not in built[1].cameras:
        policy.close()
        raise ConfigError("the openpi server needs an image of the wrist camera, which the recipe does not send.")
    return policy


def make_groot(
    suite: Suite,
    request: Mapping[str, Any] | None = None,
    executes: Chunks | None = None,
    action_keys: Sequence[str] | None = None,
    max_batch: Count | None = None,
    **settings: Unpack[RemoteSettings],
) -> RemotePolicy:
    """A client of GR00T's server.

    Raises:
        ConfigError: A setting is wrong, or the server's modalities are not the recipe's.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(_ZMQ, settings)
    built = make_pipeline(suite, "groot", request, recipe)
    keys = list(action_keys or ())

    def make_wire() -> GrootWire:
        return GrootWire(keys, connection.api_key())

    policy = _connect("groot", built, connection, make_wire(), make_wire, executes, max_batch)
    modalities = policy.provenance()["server"]["modalities"]
    form = built[1]
    recipes = {"video": list(form.images), "state": list(form.state), "action": keys, "language": [form.instruction]}
    for part, names in recipes.items():
        described = modalities.get(part, {})
        if "modality_keys" in described:
            _check(f"{part} keys", sorted(described["modality_keys"]), sorted(names), policy)
        steps = len(described.get("delta_indices") or [0])
        if part in ("video", "state"):
            _check(f"number of {part} steps", steps, 1, policy)
        elif part == "action" and "delta_indices" in described:
            _check_horizon(steps, executes, policy)
    return policy


def make_starvla(
    suite: Suite,
    request: Mapping[str, Any] | None = None,
    executes: Chunks | None = None,
    max_batch: Count | None = None,
    **settings: Unpack[RemoteSettings],
) -> RemotePolicy:
    """A client of starVLA's server.

    Raises:
        ConfigError: A setting is wrong, or the server is not what the recipe is for.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(_WEBSOCKET, settings)
    built = make_pipeline(suite, "starvla", request, recipe)
    policy = _connect("starvla", built, connection, StarvlaWire(), StarvlaWire, executes, max_batch)
    metadata = policy.provenance()["server"]["metadata"]
    _check_horizon(metadata.get("action_chunk_size"), executes, policy)
    known, wanted = metadata.get("available_unnorm_keys") or [], built[1].fixed.get("unnorm_key")
    if wanted is None and len(known) > 1 and metadata.get("default_unnorm_key") is None:
        policy.close()
        raise ConfigError(
            f"the starVLA server has statistics of several data sets: choose policy.request.fixed.unnorm_key of {known}."
        )
    if wanted is not None and known and wanted not in known:
        policy.close()
        raise ConfigError(f"the starVLA server has no statistics {wanted!r} (policy.request.fixed.unnorm_key); it has {known}.")
    return policy


def make_vla_eval_server(
    suite: Suite,
    request: Mapping[str, Any] | None = None,
    executes: Chunks | None = None,
    benchmark: Name | None = None,
    image_format: Literal["png", "raw"] = "png",
    **settings: Unpack[RemoteSettings],
) -> RemotePolicy:
    """A client of a model server of allenai's vla-eval. What it wants of the benchmark is obeyed or refused.

    Raises:
        ConfigError: A setting is wrong, or the server wants what this suite does not have.
        PolicyError: The server cannot be reached.
    """
    connection, recipe = check_remote(_WEBSOCKET, settings)

    def make_wire() -> VlaEvalWire:
        return VlaEvalWire(benchmark, image_format)

    wire = make_wire()
    link = connection.link(wire)
    try:
        request, obeyed = obey(suite, link.facts(), request, recipe)
        pipeline, form = make_pipeline(suite, "vla_eval_server", request, obeyed)
    except BaseException:
        link.close()
        raise
    return RemotePolicy("vla_eval_server", pipeline, form, connection, make_wire, (link, wire), executes, None)


def make_openvla_rest(
    suite: Suite, request: Mapping[str, Any] | None = None, executes: Chunks | None = None, **settings: Unpack[RemoteSettings]
) -> RemotePolicy:
    """A client of OpenVLA's REST server.

    Raises:
        ConfigError: A setting is wrong.
    """
    return _make_http(suite, "openvla_rest", OpenvlaRestWire(), request, executes, settings)


def make_openvla_oft_rest(
    suite: Suite, request: Mapping[str, Any] | None = None, executes: Chunks | None = None, **settings: Unpack[RemoteSettings]
) -> RemotePolicy:
    """A client of OpenVLA-OFT's REST server.

    Raises:
        ConfigError: A setting is wrong.
    """
    return _make_http(suite, "openvla_oft_rest", OpenvlaRestWire(), request, executes, settings)


def make_xvla(
    suite: Suite, request: Mapping[str, Any] | None = None, executes: Chunks | None = None, **settings: Unpack[RemoteSettings]
) -> RemotePolicy:
    """A client of X-VLA's REST server.

    Raises:
        ConfigError: A setting is wrong.
    """
    return _make_http(suite, "xvla", XvlaWire(), request, executes, settings)


def _make_http(
    suite: Suite, name: str, wire: Wire, request: Mapping[str, Any] | None, executes: int | None, settings: RemoteSettings
) -> RemotePolicy:
    connection, recipe = check_remote(_HTTP, settings)
    built = make_pipeline(suite, name, request, recipe)
    return _connect(name, built, connection, wire, type(wire), executes)


def _connect(
    name: str,
    built: tuple[Any, RequestForm],
    connection: Connection,
    wire: Wire,
    make_wire: Any,
    executes: int | None,
    max_batch: int | None = None,
) -> RemotePolicy:
    """Connect, so that what the server says of itself is known before the run begins."""
    link = connection.link(wire)
    try:
        link.facts()
        return RemotePolicy(name, *built, connection, make_wire, (link, wire), executes, max_batch)
    except BaseException:
        link.close()
        built[0].close()
        raise


def _check(what: str, found: object, expected: object, policy: RemotePolicy) -> None:
    if found is not None and found != expected:
        policy.close()
        raise ConfigError(
            f"the server's {what} is {found}; the recipe is for {expected}. Serve another model, or change the recipe."
        )


def _check_horizon(found: object, executes: int | None, policy: RemotePolicy) -> None:
    if isinstance(found, int) and executes is not None and found < executes:
        policy.close()
        raise ConfigError(f"the server gives {found} actions at a time; the recipe executes {executes} (policy.executes).")
