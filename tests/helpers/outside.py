"""Other people's packages in virtual environments of their own, made with pip from wheels: the real counterparts of slow tests."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

# One list of pip's arguments after the other; --no-deps where what a package declares is more than what is used of it.
WIRES = (
    ("numpy==1.26.4", "openpi-client==0.1.2", "typing_extensions", "policy-websocket==0.1.0", "vla-eval==0.8.0"),
    ("--no-deps", "openpi-server==0.1.0"),
)
LEROBOT = (
    ("torch==2.14.1", "torchvision==0.29.1"),  # of one kind: torchvision of the index does not load beside a CPU build of torch
    ("--no-deps", "lerobot==0.4.4", "num2words==0.5.14"),
    (
        *("numpy==1.26.4", "transformers==4.57.6", "huggingface-hub==0.35.3", "draccus==0.10.0", "datasets==5.0.1", "pyarrow<26"),
        *("diffusers==0.39.0", "accelerate", "einops", "jsonlines", "gymnasium", "imageio", "opencv-python-headless==4.11.0.86"),
        *("av", "safetensors", "termcolor", "pandas", "packaging", "websockets", "msgpack"),
    ),
)


def outside(steps: Sequence[Sequence[str]]) -> Path:
    """Folder of a virtual environment with these packages; kept among temporary files for the next session."""
    name = hashlib.sha256(repr(steps).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / "vlagym-tests" / name
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True, symlinks=True)
    for step in steps:
        subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "-q", "--only-binary", ":all:", *step], check=True)
    (folder / "complete").touch()
    return folder
