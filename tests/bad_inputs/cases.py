"""Bad inputs, made by rule from good ones: every value of a file replaced by one of another kind, files cut, flipped, blown up.

A case is a function that damages a copy of good files, and the command that then reads them. The generator is seeded; `cases` of
one seed are the same everywhere.
"""

from __future__ import annotations

import io
import json
import os
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

# What takes the place of a value: one of each kind, at the ends of its range.
VALUES: tuple[Any, ...] = (
    None,
    True,
    "no",
    "",
    0,
    -1,
    1.5,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    [[1]],
    {"a": 1},
    "../../../escape",
    "\x1b]0;title\x07\x1b[2J",
    "<a href='https://example.org'>x</a>",
    "x" * 100_000,
    "\udc80",
    "a\x00b",
)


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
        kind: What is damaged, e.g. ``run.json``.
        name: How, for messages.
        damage: Damages the files in a folder.
        command: What reads them; ``{}`` stands for the folder.
        must_refuse: Whether exit code 0 would be the acceptance of a wrong type.
    """

    kind: str
    name: str
    damage: Callable[[Path], None]
    command: tuple[str, ...]
    must_refuse: bool = False


READERS = (("table", "{}/run"), ("compare", "{}/other", "{}/run", "--allow-incomplete"), ("report", "{}/run", "--output", "{}/out"))
RENDER = ("render", "{}/run", "--episodes", "0", "--output", "{}/drawn", "--workers", "1")


def cases(seed: int) -> Iterator[Case]:
    """Endless bad inputs over all kinds of files, in turn."""
    generator = random.Random(seed)
    makers = (
        _json_case,
        _line_case,
        _config_case,
        _bytes_case,
        _special_file_case,
        _foreign_case,
        _trajectory_case,
        _setting_case,
        _argument_case,
    )
    while True:
        for maker in makers:
            yield maker(generator)


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            yield from _paths(inner, (*path, index))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def changed(value: Any, generator: random.Random) -> tuple[str, Any, bool]:
    """A copy with one value replaced or removed: where and by what, the copy, and whether its type is another one now."""
    copy = json.loads(json.dumps(value))
    path = generator.choice(list(_paths(copy)))
    parent = _at(copy, path[:-1])
    old = parent[path[-1]]
    if generator.random() < 0.1:
        del parent[path[-1]]
        return f"without {path}", copy, False
    new = generator.choice(VALUES)
    parent[path[-1]] = new
    return f"{path} = {new!r:.40}", copy, _kind(old) != _kind(new) and old is not None and new is not None


def _kind(value: Any) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _json_case(generator: random.Random) -> Case:
    seed, command = generator.random(), generator.choice((*READERS, RENDER))

    def damage(folder: Path) -> None:
        file = folder / "run" / "run.json"
        _, copy, _ = changed(json.loads(file.read_text()), random.Random(seed))
        file.write_text(json.dumps(copy))

    return Case("run.json", f"seed {seed}", damage, command)


# Keys of an episode whose wrong type changes a number that somebody reads.
COUNTED = ("success", "steps", "trial", "seed", "suite", "task", "error", "subtasks", "ended_by", "first_success_step")


def _line_case(generator: random.Random) -> Case:
    command, key, new = generator.choice(READERS), generator.choice(COUNTED), generator.choice(VALUES)
    seed, strict = generator.random(), generator.random() < 0.5

    def damage(folder: Path) -> None:
        file = folder / "run" / "episodes.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        if strict:
            lines[0][key] = new
        else:
            lines[1] = changed(lines[1], random.Random(seed))[1]
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    wrong = {"success": (bool, type(None)), "steps": (int,), "trial": (int,), "seed": (int,), "suite": (str,), "task": (str,)}
    refuse = strict and key in wrong and (type(new) not in wrong[key] or (key == "success" and new is None))
    return Case("episodes.jsonl", f"{key} = {new!r:.40}" if strict else f"seed {seed}", damage, command, refuse)


def _config_case(generator: random.Random) -> Case:
    seed, command = generator.random(), generator.choice((*READERS, RENDER, ("resume={}/run",)))
    whole = generator.choice((None, None, None, "bomb", "deep", "text", "list"))

    def damage(folder: Path) -> None:
        file = folder / "run" / "config.yaml"
        texts = {"bomb": _alias_bomb(), "deep": "a: " + "[" * 5000, "text": "just words", "list": "- 1\n- 2\n"}
        if whole is not None:
            file.write_text(texts[whole])
            return
        _, copy, _ = changed(yaml.safe_load(file.read_text()), random.Random(seed))
        file.write_text(yaml.safe_dump(copy, allow_unicode=True), "utf-8", "surrogatepass")

    return Case("config.yaml", f"{whole or seed}", damage, command)


def _alias_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    return "\n".join(lines)


def _bytes_case(generator: random.Random) -> Case:
    name = generator.choice(("run.json", "config.yaml", "episodes.jsonl"))
    how = generator.choice(("cut", "flip", "insert", "bom", "empty", "latin", "utf16", "zeros", "deep"))
    where, byte, command = generator.random(), generator.randrange(256), generator.choice(READERS)

    def damage(folder: Path) -> None:
        file = folder / "run" / name
        data = bytearray(file.read_bytes())
        at = int(where * len(data))
        if how == "flip":
            data[at] ^= 1 + byte % 255
        made = {
            "cut": data[:at],
            "flip": data,
            "insert": data[:at] + bytes([byte]) + data[at:],
            "bom": b"\xef\xbb\xbf" + data,
            "empty": b"",
            "latin": data[:at] + b"\xe9\xff" + data[at:],
            "utf16": data.decode("latin-1").encode("utf-16"),
            "zeros": bytes(len(data)),
            "deep": b"[" * 100_000,
        }[how]
        file.write_bytes(bytes(made))

    return Case("bytes", f"{name} {how} {where:.3f} {byte}", damage, command)


def _special_file_case(generator: random.Random) -> Case:
    name = generator.choice(("run.json", "config.yaml", "episodes.jsonl"))
    how, command = generator.choice(("fifo", "folder", "loop", "zero", "gone")), generator.choice((*READERS, RENDER))

    def damage(folder: Path) -> None:
        file = folder / "run" / name
        file.unlink()
        if how == "fifo":
            os.mkfifo(file)
        elif how == "folder":
            file.mkdir()
        elif how == "loop":
            file.symlink_to(file)
        elif how == "zero":
            file.symlink_to("/dev/zero")

    return Case("special files", f"{name} is {how}", damage, command, how != "gone" or name != "episodes.jsonl")


LEROBOT = {
    "per_task": [{"task_group": "toy", "task_id": 0, "metrics": {"successes": [True, False, True]}}],
    "overall": {"pc_success": 66.7},
}
_EPISODES = [{"episode_id": 0, "metrics": {"success": True}}, {"episode_id": 1, "success": False}]
HARNESS = {
    "benchmark": "toy",
    "config": {"params": {"suite": "toy"}},
    "tasks": [{"task": "push_right", "episodes": _EPISODES}],
}


def _foreign_case(generator: random.Random) -> Case:
    seed, start = generator.random(), generator.choice((LEROBOT, HARNESS))

    def damage(folder: Path) -> None:
        (folder / "foreign.json").write_text(json.dumps(changed(start, random.Random(seed))[1]))

    return Case("foreign results", f"seed {seed}", damage, ("compare", "{}/foreign.json", "{}/run", "--allow-incomplete"))


def _trajectory_case(generator: random.Random) -> Case:
    how = generator.choice(("cut", "flip", "nan", "object", "shape", "bomb", "huge", "text", "meta", "missing", "lzma", "empty"))
    where, seed = generator.random(), generator.random()

    def damage(folder: Path) -> None:
        file = next((folder / "run" / "trajectories").glob("episode=0--*.npz"))
        data = bytearray(file.read_bytes())
        at = int(where * len(data))
        if how in ("cut", "flip", "text", "empty"):
            data[at] ^= 0x40
            file.write_bytes({"cut": data[:at], "flip": data, "text": b"not a zip", "empty": b""}[how])
            return
        with np.load(io.BytesIO(file.read_bytes())) as stored:
            arrays: dict[str, Any] = {name: stored[name] for name in stored.files}
        if how == "nan":
            arrays["actions"] = arrays["actions"] * np.nan
        elif how == "object":
            arrays["actions"] = np.array([[{"a": 1}]], object)
        elif how == "shape":
            arrays["render_states"] = arrays["render_states"][:-1]
        elif how == "meta":
            arrays["meta"] = np.array(json.dumps(changed(json.loads(str(arrays["meta"])), random.Random(seed))[1]))
        elif how == "missing":
            arrays.pop("meta")
        packing = zipfile.ZIP_LZMA if how == "lzma" else zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(file, "w", packing) as archive:
            for name, array in arrays.items():
                part = io.BytesIO()
                np.save(part, array, allow_pickle=True)
                archive.writestr(f"{name}.npy", part.getvalue())
            if how == "bomb":
                archive.writestr("bomb.npy", bytes(700 << 20))
            if how == "huge":
                part = io.BytesIO()
                np.lib.format.write_array_header_1_0(part, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
                archive.writestr("huge.npy", part.getvalue())

    refuse = how not in ("flip", "meta")
    command = ("suite=toy", "policy=replay", "policy.run={}/run", "video=none", "trials=[0]", "run_dir={}/new")
    return Case("trajectory", f"{how} {where:.3f}", damage, command, refuse)


SETTINGS = (
    "workers",
    "seeds",
    "trials",
    "episodes_per_task",
    "egl_devices",
    "worker_timeout_s",
    "policy_timeout_s",
    "attempts",
    "video",
    "video_cameras",
    "video_fps",
    "tasks",
    "trackers",
    "assets.dir",
    "assets.stand_ins",
    "assets.source",
    "assets.libero_plus_zip",
    "suite",
    "policy",
    "suite.trials",
    "suite.goal",
    "suite.chain",
    "suite.step_seconds",
    "suite.name",
    "suite.benchmark",
    "policy.chunk",
    "policy.cameras",
    "policy.name",
    "run_dir",
    "allow_code",
    "nothing",
    "+extra",
    "~workers",
    "legs",
    "resume",
)
TYPED = (
    *[
        "nan",
        "inf",
        "-inf",
        "1.5",
        "-1",
        "0",
        "1e300",
        "1e-300",
        "99999999999999999999999",
        "[]",
        "{}",
        "[-1]",
        "[1.5]",
        "[nan]",
        "[1,1]",
        "{a:1}",
        "[[1]]",
        "true",
        "null",
        "''",
    ],
    *["../../x", "${workers}", "${oc.env:HOME}", "[a,1]", "[true]", "0x10", "1_000", "!!python/object:os.system", "'", "é"],
    *("\x1b[2J", "x" * 5000, "[" * 30, "a b"),
)


def _setting_case(generator: random.Random) -> Case:
    setting, value = generator.choice(SETTINGS), generator.choice(TYPED)
    # A task that does not exist, last: what gets through is refused before an episode is run.
    rest = ("suite=toy", "policy=random", "video=none", "run_dir={}/new")
    kept = (argument for argument in rest if not argument.startswith(f"{setting}="))
    command = (*kept, f"{setting}={value}", "tasks=[no_such_task]")
    return Case("settings", f"{setting}={value:.40}", lambda folder: None, command, True)


ARGUMENTS: tuple[tuple[str, ...], ...] = (
    ("table", "{}/run", "--confidence"),
    ("compare", "{}/other", "{}/run", "--margin"),
    ("compare", "{}/other", "{}/run", "--alpha"),
    ("report", "{}/run", "--output", "{}/out", "--margin"),
    ("report", "{}/run", "--output", "{}/out", "--alpha"),
    ("render", "{}/run", "--output", "{}/drawn", "--fps"),
    ("render", "{}/run", "--output", "{}/drawn", "--workers"),
    ("render", "{}/run", "--output", "{}/drawn", "--size"),
    ("power", "--rate", "80", "--drop"),
    ("power", "--drop", "5", "--rate"),
    ("gate", "suite=toy", "baseline={}/run", "margin="),
    ("gate", "suite=toy", "baseline={}/run", "alpha="),
    ("gate", "suite=toy", "baseline={}/run", "looks="),
    ("bench", "suite=toy", "episodes="),
    ("bench", "suite=toy", "chunks="),
    ("bench", "suite=toy", "workers="),
    ("bench", "results="),
    ("bench", "results=100", "repeats="),
)
NONSENSE = ("nan", "inf", "-inf", "-1", "1e300", "x", "", "[]", "1.5.5", "\u0663x", "99999999999999999999999", "\x1b[2J", "0x10")


def _argument_case(generator: random.Random) -> Case:
    start, value = generator.choice(ARGUMENTS), generator.choice(NONSENSE)
    command = (*start[:-1], f"{start[-1]}{value}" if start[-1].endswith("=") else f"{start[-1]}={value}")
    return Case("arguments", f"{' '.join(start)} {value}", lambda folder: None, command, True)
