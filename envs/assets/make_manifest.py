"""Writes the manifest of an asset set: ``python -m vlagym.envs.assets.make_manifest --help``.

A maintainer's tool, needed when a set moves to another commit or a new benchmark is added. The choice of files is what an archive
holds; their hashes are taken from its bytes and compared with the tree of a git clone, which also gives the object ids of files
that the archive lacks (those that stand-ins replace, and those asked for with ``--optional``).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import AssetError
from .manifest import Digest, FileEntry, chunks, entry_to_json

HASHES = {
    "sha256": "SHA-256 of the file's bytes",
    "git_sha1": "git object id in the commit's tree, for files whose bytes were not at hand when this manifest was made",
}


def git_tree(clone: Path, commit: str) -> dict[str, tuple[str, int | None]]:
    """Path -> (object id, size in bytes or None where the clone lacks the object) of every file in a commit."""
    command = ["git", "-C", str(clone), "ls-tree", "-r", "-l", "-z", commit]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tree = {}
    for line in filter(None, listing.split("\0")):
        head, path = line.split("\t", 1)
        _, kind, object_id, size = head.split()
        if kind == "blob":
            tree[path] = (object_id, int(size) if size.isdigit() else None)
    return tree


def archive_digests(archive: Path) -> dict[str, Digest]:
    """Path within the repository -> digest, of every file in an archive."""
    digests = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile():
                stream = tar.extractfile(member)
                assert stream is not None
                digest = Digest(member.size)
                for chunk in chunks(stream):
                    digest.update(chunk)
                digests[member.name.split("/", 1)[1]] = digest
    return digests


def replaced_path(stand_in: str, tree: dict[str, tuple[str, int | None]]) -> str:
    """The file of the repository that a stand-in replaces: of the same path, else the one of the same folder and stem.

    Raises:
        AssetError: There is no such file, or more than one.
    """
    if stand_in in tree:
        return stand_in
    pure = PurePosixPath(stand_in)
    near = [p for p in tree if PurePosixPath(p).parent == pure.parent and PurePosixPath(p).stem == pure.stem]
    if len(near) != 1:
        raise AssetError(f"stand-in {stand_in} could replace {near or 'no file'} of the repository; it must be exactly one.")
    return near[0]


def build_manifest(
    head: dict[str, str], clone: Path, archive: Path, stand_ins_archive: Path | None, optional: list[str]
) -> dict[str, Any]:
    """The manifest as plain JSON values.

    Args:
        head: ``name``, ``repository``, ``commit`` and ``root``.
        clone: Git directory that has the commit; large objects may be absent.
        archive: Archive with the files of the set.
        stand_ins_archive: Archive with replacements for files that `archive` lacks.
        optional: Patterns of further paths of the commit to list as optional.

    Raises:
        AssetError: A file of the archive is not the commit's.
    """
    tree = git_tree(clone, head["commit"])
    files: dict[str, FileEntry] = {}
    for path, digest in archive_digests(archive).items():
        if path not in tree or tree[path][0] != digest.git_sha1:
            raise AssetError(f"{archive}: {path} is not what commit {head['commit']} of {clone} holds.")
        files[path] = FileEntry(path, size=digest.size, sha256=digest.sha256)
    stand_ins: dict[str, FileEntry] = {}
    for path, digest in archive_digests(stand_ins_archive).items() if stand_ins_archive else ():
        target = replaced_path(path, tree)
        stand_ins[path] = FileEntry(path, size=digest.size, sha256=digest.sha256, stands_in_for=target)
        files.setdefault(target, FileEntry(target, size=tree[target][1], git_sha1=tree[target][0]))
    for path in tree:
        if path not in files and any(fnmatch(path, pattern) for pattern in optional):
            files[path] = FileEntry(path, size=tree[path][1], git_sha1=tree[path][0], optional=True)
    return {
        **head,
        "hashes": HASHES,
        "files": {path: entry_to_json(files[path]) for path in sorted(files)},
        "stand_ins": {path: entry_to_json(stand_ins[path]) for path in sorted(stand_ins)},
    }


def write_manifest(file: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest with one file per line, so that changes read well."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items() if key not in ("files", "stand_ins")]
    for key in ("files", "stand_ins"):
        entries = ",\n".join(f"    {json.dumps(path)}: {json.dumps(entry)}" for path, entry in manifest[key].items())
        lines.append(f"  {json.dumps(key)}: {{\n{entries}\n  }}" if entries else f"  {json.dumps(key)}: {{}}")
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Build a manifest and write it."""
    parser = argparse.ArgumentParser(prog="python -m vlagym.envs.assets.make_manifest", description=__doc__.split("\n\n")[1])
    parser.add_argument("output", type=Path, help="manifest to write, NAME.json; NAME becomes the name of the set")
    parser.add_argument("--repository", required=True, metavar="OWNER/REPO", help="on GitHub")
    parser.add_argument("--commit", required=True, help="full commit id")
    parser.add_argument("--root", default=".", help="folder of the repository that the benchmark is pointed at (default: all)")
    parser.add_argument("--clone", required=True, type=Path, help="git clone that has the commit")
    parser.add_argument("--archive", required=True, type=Path, help="tar archive of the set's files")
    parser.add_argument("--stand-ins", type=Path, help="tar archive of replacements for files the archive lacks")
    parser.add_argument("--optional", action="append", default=[], metavar="PATTERN", help="further paths to list as optional")
    args = parser.parse_args(argv)
    head = {"name": args.output.stem, "repository": args.repository, "commit": args.commit, "root": args.root}
    write_manifest(args.output, build_manifest(head, args.clone, args.archive, args.stand_ins, args.optional))
    return 0


if __name__ == "__main__":
    sys.exit(main())
