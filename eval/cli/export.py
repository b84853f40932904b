"""``vla-eval export``: a run's results for a model card on the Hugging Face hub, and in LeRobot's form."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...errors import ConfigError, StorageError
from ..publish.hub import model_card, model_name
from ..publish.lerobot import eval_info
from ..record.console import make_console
from ..tables.runs import load_run
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Run ``vla-eval export ARGV``; returns 0.

    Raises:
        ConfigError: The run is incomplete, or nothing says what to write.
        VlagymError: Not a run, or files that cannot be written.
    """
    parser = CommandParser(prog="vla-eval export", description="A complete run's results in the form of others; nothing is sent.")
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "--hub", action="store_true", required=True, help="model-card.md (model-index) and LeRobot's eval_info.json"
    )
    parser.add_argument("--model", metavar="NAME", help="what the card calls the model (default: the checkpoint's name)")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="default: RUN--export beside the run")
    arguments = parser.parse_args(argv)
    run = load_run(arguments.run)
    if not run.complete:
        raise ConfigError(
            f"{run.path} is incomplete ({len(run.missing)} episodes not run, {len(run.errors)} errors), and a published number "
            f"stands for a whole run: vla-eval resume={run.path} first."
        )
    output = arguments.output or run.path.resolve().with_name(f"{run.name}--export")
    files = {
        "model-card.md": model_card(run, arguments.model or model_name(run)),
        "eval_info.json": json.dumps(eval_info(run), indent=2) + "\n",
    }
    console = make_console()
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (output / name).write_text(text, encoding="utf-8")
            console.print(f"written: {output / name}", highlight=False, markup=False, soft_wrap=True)
    except OSError as error:
        raise StorageError(f"{output} cannot be written: {error.strerror}.") from error
    return 0
