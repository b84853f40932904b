"""`vla-eval convert KIND ...`: checkpoints of other frameworks become safetensors and a JSON description, once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..._stages import stage
from ..record.console import make_console
from ..record.progress import progress_for
from .arguments import CommandParser


def main(argv: Sequence[str]) -> int:
    """Convert what the command line names; returns the exit code."""
    parser = CommandParser(prog="vla-eval convert", description="Convert checkpoints of other frameworks.")
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    rt1 = kinds.add_parser("rt1", help="an RT-1 or RT-1-X policy of TensorFlow (TensorFlow is not needed)")
    rt1.add_argument("source", type=Path, help="folder of a SavedModel or training checkpoint, or one FILE.index")
    rt1.add_argument("out", type=Path, help="folder to write; must not exist")
    rt1.add_argument("--encoder-width", type=float, default=1.2, help="EfficientNet's width coefficient (default: B3's 1.2)")
    rt1.add_argument("--encoder-depth", type=float, default=1.4, help="EfficientNet's depth coefficient (default: B3's 1.4)")
    rt1.set_defaults(convert=_rt1)
    robovlms = kinds.add_parser("robovlms", help="a RoboVLMs policy as published: a .pt of Lightning and its JSON configuration")
    robovlms.add_argument("source", help="FILE.pt, or OWNER/NAME@REVISION:FOLDER/FILE.pt on the Hugging Face hub")
    robovlms.add_argument("out", type=Path, help="folder to write; must not exist")
    robovlms.add_argument("--config", help="its JSON configuration (default: the one beside it, or in ../configs)")
    robovlms.add_argument(
        "--backbone",
        default="microsoft/kosmos-2-patch14-224",
        help="folder or repository of the Kosmos-2 (default: %(default)s)",
    )
    robovlms.set_defaults(convert=_robovlms)
    arguments = parser.parse_args(argv)
    with progress_for(make_console()):
        stage("converting")
        made = arguments.convert(arguments)
    print(f"{arguments.out}: {made}.")
    print(f"Use it with policy.checkpoint={arguments.out}")
    return 0


def _rt1(arguments: argparse.Namespace) -> str:
    from ...policies.rt1.convert import convert

    config = convert(arguments.source, arguments.out, arguments.encoder_width, arguments.encoder_depth)
    return f"RT-1 with {config.layers} layers of {config.model_size}, window {config.window}"


def _robovlms(arguments: argparse.Namespace) -> str:
    from ...policies.robovlms.convert import convert

    config = convert(arguments.source, arguments.out, arguments.config, arguments.backbone)
    cameras = "scene and hand" if config.hand_camera else "the scene"
    return f"RoboVLMs with a window of {config.window} steps, chunks of {config.chunk} actions, seeing {cameras}"
