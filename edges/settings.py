"""What a setting may be: declared once, as the annotation of a field or an argument, checked where settings enter, shown by help.

A suite's settings are the fields of its dataclass, a policy's the arguments of its factory, a run's the fields of `RunConfig`.
Types and ranges stand in their annotations, e.g. ``Annotated[int, Meta(ge=1)]`` (see the names below); what a setting means stands
beside its default in conf/.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
import types
from collections.abc import Callable, Mapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from .._registry import did_you_mean
from ..errors import ConfigError
from .text import is_printable

F = TypeVar("F", bound=Callable[..., Any])

# What settings are made of. A number of things to do is bounded by what a machine can ever do, not by taste.
MANY = 1_000_000
LARGEST_SEED = 2**32 - 1
Count: TypeAlias = Annotated[int, Meta(ge=1, le=MANY)]
Index: TypeAlias = Annotated[int, Meta(ge=0, le=MANY)]
Seed: TypeAlias = Annotated[int, Meta(ge=0, le=LARGEST_SEED)]
Chunks: TypeAlias = Annotated[int, Meta(ge=1, le=10_000)]
Pixels: TypeAlias = Annotated[int, Meta(ge=1, le=4096)]
FramesPerSecond: TypeAlias = Annotated[float, Meta(ge=0.1, le=1000)]
Percent: TypeAlias = Annotated[float, Meta(gt=0, lt=100)]
Points: TypeAlias = Annotated[float, Meta(ge=0, lt=100)]  # of percentage
Alpha: TypeAlias = Annotated[float, Meta(gt=0, lt=0.5)]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535)]  # 0: any that is free
Processes: TypeAlias = Annotated[int, Meta(ge=1, le=1024)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0.1, le=1e7)]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
FileName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^/\x00]+\Z")]  # part of one
Text: TypeAlias = Annotated[str, Meta(max_length=4096)]


@dataclass(frozen=True)
class CodeReference:
    """Marks a setting that may name code (``package.module:function``), which is imported and called.

    Such a value counts only where the user typed it or allowed it by name, never because a file has it.
    """


@dataclass(frozen=True)
class Setting:
    """The declaration of one setting.

    Attributes:
        name: Its name without the group it is in.
        annotation: Type and range.
        default: Its default; `REQUIRED` where there is none.
        code: Whether it may name code.
    """

    name: str
    annotation: Any
    default: Any
    code: bool = False

    @property
    def expected(self) -> str:
        """Type and range in words, e.g. ``a whole number from 1, or null``."""
        return in_words(self.annotation)

    def problem(self, value: Any) -> str | None:
        """What is wrong with a value, in words; None if nothing is."""
        odd = _odd_value(value)
        if odd:
            return odd
        try:
            msgspec.convert(value, self.annotation)
        except msgspec.ValidationError:
            return f"must be {self.expected}"
        except TypeError:  # an annotation that is not one of plain values: whoever takes the setting has to check it
            return None
        return None


REQUIRED: Any = inspect.Parameter.empty
# What a factory is given beside its settings.
_NO_SETTINGS = ("suite", "policy")


def declared(target: Callable[..., Any]) -> dict[str, Setting]:
    """The settings that a dataclass or a factory takes, by name; the first argument of a policy's factory is no setting.

    An annotation that cannot be told (none, or one that only a type checker sees) is taken as any plain value.
    """
    hints = _hints(target)
    found: dict[str, Setting] = {}
    for parameter in inspect.signature(target).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL) or parameter.name in _NO_SETTINGS:
            continue
        annotation = hints.get(parameter.name, Any)
        if parameter.kind == parameter.VAR_KEYWORD:
            found |= _unpacked(annotation)
            continue
        code = any(isinstance(note, CodeReference) for part in (annotation, *get_args(annotation)) for note in _notes(part))
        found[parameter.name] = Setting(parameter.name, annotation, _default(parameter), code)
    return found


def with_settings_of(declarer: Callable[..., Any]) -> Callable[[F], F]:
    """Marks a factory that hands all its settings on to another one: it takes what that one declares."""

    def mark(factory: F) -> F:
        functools.update_wrapper(factory, declarer, assigned=(), updated=())
        return factory

    return mark


def check_settings(prefix: str, target: Callable[..., Any], values: Mapping[str, Any], open_ended: bool = False) -> None:
    """Check settings against the declaration of who takes them.

    Args:
        prefix: Stands before a setting's name in messages, e.g. ``suite.``.
        target: A dataclass or a factory.
        values: Settings by name.
        open_ended: Whether it may take more than it declares.

    Raises:
        ConfigError: Names the setting, what it may be and what it is.
    """
    known = declared(target)
    for name, value in values.items():
        if name in known:
            problem = known[name].problem(value)
            if problem:
                raise ConfigError(f"{prefix}{name} {problem}; got {shown(value)}.")
        elif not open_ended and not _takes_anything(target):
            raise ConfigError(
                f"unknown setting {prefix}{name}.{did_you_mean(str(name), known)} It takes {', '.join(known) or 'no settings'}."
            )


def check_fields(prefix: str, instance: Any) -> None:
    """Check the fields of a dataclass of settings, for whoever builds one without `check_settings`.

    Raises:
        ConfigError: Names the setting, what it may be and what it is.
    """
    check_settings(prefix, type(instance), {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)})


def shown(value: Any) -> str:
    """A value as a message shows it: null for None, and no longer than a line."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def in_words(annotation: Any) -> str:
    """A type with its range in words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with_limits(arguments[0], [note for note in arguments[1:] if isinstance(note, Meta)])
    if origin in (Union, types.UnionType):
        parts = [in_words(part) for part in arguments if part is not type(None)]
        return " or ".join(parts) + (", or null" if type(None) in arguments else "")
    if dataclasses.is_dataclass(annotation):
        return f"a mapping of {', '.join(field.name for field in dataclasses.fields(annotation))}"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in (list, tuple, AbstractSequence):
        return f"a list of {_plural(in_words(arguments[0]))}" if arguments else "a list"
    words: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    mapping = origin in (dict, Mapping) or annotation in (dict, Mapping)
    return "a mapping" if mapping else words.get(annotation, "a plain value")


def kind_of(annotation: Any) -> type[Any]:
    """The plain type below a range: int, float, ..."""
    kind: type[Any] = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return kind


def _with_limits(kind: Any, limits: AbstractSequence[Meta]) -> str:
    words = in_words(kind)
    for limit in limits:
        if kind in (int, float):
            low = f" from {limit.ge:g}" if limit.ge is not None else f" above {limit.gt:g}" if limit.gt is not None else ""
            high = (
                f" to {limit.le:.10g}" if limit.le not in (None, MANY) else f" below {limit.lt:g}" if limit.lt is not None else ""
            )
            words += low + high
        elif kind is str and limit.max_length is not None:
            words = f"a name of at most {limit.max_length} characters" if limit.min_length else words
        elif limit.min_length:
            words += ", not empty"
    return words


def _plural(words: str) -> str:
    for one, many in (("a whole number", "whole numbers"), ("a number", "numbers"), ("a name", "names"), ("a text", "texts")):
        if words.startswith(one):
            return many + words.removeprefix(one)
    return words


def _odd_value(value: Any) -> str | None:
    """What no setting may be, whatever its type."""
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if isinstance(value, str) and not is_printable(value):
        return "must be one line without control characters"
    if isinstance(value, Mapping):
        return next((problem for pair in value.items() for part in pair if (problem := _odd_value(part))), None)
    if isinstance(value, list | tuple):
        return next((problem for inner in value if (problem := _odd_value(inner))), None)
    return None


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Annotations by name, without those that cannot be told: names that are imported for a type checker only."""
    function = inspect.unwrap(target)
    if inspect.isclass(function) and not dataclasses.is_dataclass(function):
        function = function.__init__
    owners: tuple[Any, ...] = function.__mro__ if inspect.isclass(function) else (function,)
    found: dict[str, Any] = {}
    for owner in reversed(owners):
        names = dict(vars(sys.modules[owner.__module__])) if owner.__module__ in sys.modules else {}
        for name, annotation in inspect.get_annotations(owner).items():
            try:
                single = type("_Single", (), {"__annotations__": {name: annotation}})
                found[name] = get_type_hints(single, globalns=names, include_extras=True)[name]
            except (NameError, TypeError, AttributeError):
                found.pop(name, None)
    return found


def _unpacked(annotation: Any) -> dict[str, Setting]:
    """The settings in ``**settings: Unpack[SomeTypedDict]``."""
    inner = next(iter(get_args(annotation)), None)
    if inner is None or not hasattr(inner, "__required_keys__"):
        return {}
    return {name: Setting(name, hint, None) for name, hint in get_type_hints(inner, include_extras=True).items()}


def _takes_anything(target: Callable[..., Any]) -> bool:
    last = next((p for p in inspect.signature(target).parameters.values() if p.kind == p.VAR_KEYWORD), None)
    return last is not None and not _unpacked(_hints(target).get(last.name, Any))


def _default(parameter: inspect.Parameter) -> Any:
    default = parameter.default
    return default if type(default) is not type(dataclasses.MISSING) else REQUIRED


def _notes(annotation: Any) -> tuple[Any, ...]:
    return tuple(getattr(annotation, "__metadata__", ()))
