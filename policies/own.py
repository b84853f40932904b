"""A policy that a user names instead of packaging it: ``path/to/file.py:MyPolicy`` or ``module:MyPolicy``, a class or a function.

Such a name is code. It is imported because somebody typed it; that a run's own settings have it is not enough (see
`vlagym.eval.plan.trust`).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .._registry import did_you_mean
from ..envs.suite import Suite
from ..errors import ConfigError
from .base import Chunk, Policy, PolicyObservation

SETTING = "code"  # of a policy: where it is


def is_code(policy: str) -> bool:
    """Whether ``policy=`` names code rather than an entry of the registry."""
    return ":" in policy


def name_of(code: str) -> str:
    """What a policy of one's own is called in a run: its class or function."""
    return code.rpartition(":")[2]


def factory_of(code: str) -> Callable[..., Policy]:
    """The ``factory(suite, **settings) -> Policy`` that a class or a function comes to.

    Args:
        code: ``path/to/file.py:NAME`` or ``package.module:NAME``; a module may lie in the working directory. NAME is a subclass of
            `Policy`, a function whose first argument is called ``suite`` and which returns one, or a function of an observation
            (`from_function`).

    Raises:
        ConfigError: There is no such file, module or name, importing it fails, or it is none of these.
    """
    module, name = _module(code), name_of(code)
    target = getattr(module, name, None)
    if target is None:
        near = did_you_mean(name, [n for n, found in vars(module).items() if callable(found) and not n.startswith("_")])
        raise ConfigError(f"policy={code}: {module.__file__} has no {name!r}.{near}")
    if not inspect.isclass(target) and not callable(target):
        raise ConfigError(f"policy={code}: {name} is {type(target).__name__}, neither a class nor a function.")
    if inspect.isclass(target):
        return _class_factory(code, target)
    first = _first_argument(target)
    if first is None:
        raise ConfigError(
            f"policy={code}: {name} takes no argument; it is given an observation, or `suite` where it makes a policy."
        )
    return target if first == "suite" else from_function(target)


def from_function(function: Callable[..., Any], cameras: Sequence[str] | None = None) -> Callable[..., Policy]:
    """A policy's factory made of a plain function, which is asked about one observation at a time and remembers nothing.

    Args:
        function: ``function(observation, **settings)``, given a `PolicyObservation`; returns an action [A], or a chunk of them
            [T, A], that mean what the suite's `ActionSpec` says. Its other arguments are the policy's settings.
        cameras: Images that it looks at; None for all that the suite has, which costs time where they are not needed.

    Returns:
        ``factory(suite, **settings) -> Policy``.
    """

    def factory(suite: Suite, **settings: Any) -> Policy:
        return _FunctionPolicy(suite, functools.partial(function, **settings), suite.cameras if cameras is None else cameras)

    parameters = list(inspect.signature(function).parameters.values())[1:]
    first = inspect.Parameter("suite", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    # What it takes beside the observation is what the factory takes beside the suite; annotations are read from the function.
    functools.update_wrapper(factory, function, assigned=("__name__", "__doc__"), updated=())
    factory.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]
    return factory


def code_record(code: str | None) -> dict[str, str]:
    """What identifies the code of a policy of one's own, for the run's record: its file's hash; empty for None.

    Files that it imports are not looked at; `Policy.provenance` may say more.
    """
    file = getattr(_module(code), "__file__", None) if code is not None else None
    return {"code_sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest()} if file else {}


def check_made(name: str, policy: Any) -> None:
    """Make sure that what came of a factory is a policy that says what its actions are.

    Raises:
        ConfigError: Says what to add.
    """
    if not isinstance(policy, Policy):
        raise ConfigError(
            f"policy {name!r}: it returned {type(policy).__name__} for a suite; a vlagym.policies.Policy is expected."
        )
    if getattr(policy, "action_spec", None) is None:
        raise ConfigError(
            f"policy {name!r} does not say what its actions mean; if they are what the suite takes, its __init__ sets "
            "self.action_spec = suite.action_spec."
        )


class _FunctionPolicy(Policy):
    """Asks a function about one observation at a time."""

    def __init__(self, suite: Suite, function: Callable[[PolicyObservation], Any], cameras: Sequence[str]) -> None:
        self.action_spec = suite.action_spec
        self.cameras = tuple(cameras)
        self.episodes_stay = False
        self._function = function

    def reset(self, episode_ids: Sequence[str]) -> None:
        return None

    def act(self, observations: Sequence[PolicyObservation]) -> list[Chunk]:
        return [self._chunk(observation) for observation in observations]

    def _chunk(self, observation: PolicyObservation) -> Chunk:
        actions = np.asarray(self._function(observation))
        return actions[None] if actions.ndim == 1 else actions


def _class_factory(code: str, target: type[Any]) -> Callable[..., Policy]:
    if not issubclass(target, Policy):
        raise ConfigError(
            f"policy={code}: {target.__name__} is no vlagym.policies.Policy; derive it from that, or name a function that returns "
            "an action for an observation."
        )
    if missing := sorted(getattr(target, "__abstractmethods__", ())):
        raise ConfigError(f"policy={code}: {target.__name__} has no {' and no '.join(missing)}; a policy needs reset and act.")
    return target


def _first_argument(function: Callable[..., Any]) -> str | None:
    return next(iter(inspect.signature(function).parameters), None)


def _module(code: str) -> ModuleType:
    where, _, name = code.rpartition(":")
    if not name.isidentifier() or not where:
        raise ConfigError(f"policy={code}: expected path/to/file.py:NAME or package.module:NAME.")
    try:
        return _from_file(code, Path(where).expanduser()) if where.endswith(".py") else _from_name(where)
    except ConfigError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = f" ({frame.filename}, line {frame.lineno})" if "importlib" not in frame.filename else ""
        raise ConfigError(f"policy={code} cannot be imported: {type(error).__name__}: {error}{line}.") from error


def _from_file(code: str, file: Path) -> ModuleType:
    """Import a file; files beside it can be imported by it. Another content is another module."""
    if not file.is_file():
        raise ConfigError(f"policy={code}: there is no file {file}.")
    content = hashlib.sha256(str(file.resolve()).encode() + file.read_bytes()).hexdigest()[:16]
    name = f"_vlagym_{file.stem}_{content}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as Python's own import does, for dataclasses and pickle
    _can_import_from(file.resolve().parent)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_name(name: str) -> ModuleType:
    _can_import_from(Path.cwd())
    return importlib.import_module(name)


def _can_import_from(folder: Path) -> None:
    """Modules of this folder can be imported, after all others: nothing installed is hidden by a file of the same name."""
    if os.fspath(folder) not in sys.path:
        sys.path.append(os.fspath(folder))
