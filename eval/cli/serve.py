"""`vla-eval serve`: a policy with its recipe behind a network protocol, for other harnesses and for robots."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from ...conf import CONF_DIR
from ...envs.registry import make_suite
from ...policies.registry import make_policy
from ..plan.config import compose_settings
from ..record.console import make_console


def main(argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit code."""
    if any(argument in ("-h", "--help") for argument in argv):
        print((CONF_DIR / "serve.yaml").read_text(encoding="utf-8"))
        return 0
    settings = compose_settings(argv, "serve")
    suite = make_suite(settings["suite"])
    from ...policies.packages import require

    require(["websockets", "msgpack"], "remote")
    from ...policies.serving.adapter import ServedPolicy, layout_of
    from ...policies.serving.server import ServerSettings, run

    protocol = settings["protocol"]
    key, linger_s = os.environ.get(settings["api_key_env"]), settings["linger_ms"] / 1000
    address = ServerSettings(settings["host"], settings["port"], protocol, key, linger_s)
    layout = layout_of(protocol, settings["suite"]["benchmark"], suite)
    served = ServedPolicy(make_policy(settings["policy"], suite), suite, layout, settings["policy"]["name"])
    console = make_console()
    logging.basicConfig(level=settings["log"].upper(), format="%(asctime)s %(name)s: %(message)s")

    def ready(port: int) -> None:
        who = f"; clients need the key in ${settings['api_key_env']}" if key else ""
        console.print(f"serving {served.name} for {suite.name} over {protocol} at ws://{address.host}:{port}{who}", highlight=False)

    run(served, address, ready)
    console.print("the server has ended", highlight=False)
    return 0
