"""Gives back what MuJoCo keeps of a model beyond its use: on LIBERO's tasks a third of a worker's memory.

After reading a model MuJoCo keeps everything it was compiled from, in case the XML is saved again; and the compiled model keeps its
textures, which only the upload to the renderer reads. Neither changes a bit of physics or pictures. Where a platform lacks a call,
memory is not given back and nothing else differs.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from functools import cache
from pathlib import Path
from typing import Any

_NO_LIMIT_BYTES = 1 << 40


def keep_assets() -> None:
    """Let MuJoCo's cache of meshes grow without its limit of 500 MB, so that a model does not depend on those compiled before.

    robosuite compiles a model more than once, from the second time on with meshes out of that cache, and those differ in their last
    bits from meshes read anew. Once some dozens of LIBERO's tasks had filled the cache, nothing more went in. (Emptying it instead
    crashes MuJoCo 3.3.2.)
    """
    library = _mujoco_library()
    if library is not None and hasattr(library, "mj_globalCache"):
        library.mj_setCacheSize(ctypes.c_void_p(library.mj_globalCache()), ctypes.c_size_t(_NO_LIMIT_BYTES))


def forget_source() -> None:
    """Free what the model read last was compiled from: afterwards MuJoCo cannot save its XML."""
    library = _mujoco_library()
    if library is not None:
        library.mj_freeLastXML()
        _return_free_memory()


def forget_textures(model: Any) -> None:
    """Give the pages of a model's textures back to the system: they read as zeros (black) from now on.

    Call it once they are uploaded and no other renderer of this model will be made.

    Args:
        model: `mujoco.MjModel`.
    """
    if sys.platform != "linux":
        return
    first = -(-model.tex_data.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (model.tex_data.ctypes.data + model.tex_data.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < end:
        # The model's memory is private to this process, so dropped pages come back filled with zeros.
        _c_library().madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), mmap.MADV_DONTNEED)


@cache
def _mujoco_library() -> ctypes.CDLL | None:
    """The library that the package mujoco has loaded."""
    import mujoco

    found = next(Path(mujoco.__file__).parent.glob("libmujoco.so.*"), None)
    if found is None:
        return None
    library = ctypes.CDLL(str(found))
    if hasattr(library, "mj_globalCache"):
        library.mj_globalCache.restype = ctypes.c_void_p
    return library


@cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _return_free_memory() -> None:
    """Let the C library return freed memory to the system (glibc keeps it otherwise)."""
    library = _c_library()
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
