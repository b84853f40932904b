"""A picture whose pixels are known, to tell whether this machine draws what others draw.

It is the first frame of opening the top drawer seen from place b0 of visual matching, in which everything is upstream's own data.
Run as ``python -m vlagym.envs.simpler.doctor`` it prints the picture's hash: drivers may crash, so it is drawn in another process.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys

from ...errors import DependencyError
from ..assets import locate
from .settings import ASSETS, SimplerSettings

# SHA-256 of the picture's bytes -> what drew it.
EXPECTED_PICTURES = {
    "06a90557054647177e0c84127d98645c54fb140a83993799e77eb7ef64f9c469": "upstream's, on lavapipe (Mesa 25.0.7, LLVM 15)",
}
TASK, TRIAL = "google_open_top_drawer", 3
TIMEOUT_S = 300.0


def picture_sha256() -> str:
    """Hash of the picture as this machine draws it.

    Raises:
        DependencyError: It cannot be drawn.
    """
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace")
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DependencyError(f"SimplerEnv's test picture cannot be drawn: {tail[0]}")
    return done.stdout.split()[-1]


def _main() -> None:
    from .env import SimplerEnv

    settings = SimplerSettings("simpler_google_vm", "google_visual_matching", shader="rasterizer")
    env = SimplerEnv(settings, ("primary",), locate(ASSETS).path)
    observation, _ = env.reset(options={"task": TASK, "trial": TRIAL})
    print(hashlib.sha256(observation["images"]["primary"].tobytes()).hexdigest())


if __name__ == "__main__":
    _main()
