"""A policy together with the server that was started for it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from ..base import Policy
from ..wrapped import WrappedPolicy
from .server import LaunchedServer


class LaunchedPolicy(WrappedPolicy):
    """Asks the policy it was made of; ends the server with it.

    Args:
        policy: Connected to the server.
        server: That runs.
        opened: What is to be closed after the policy, the server among it.
    """

    def __init__(self, policy: Policy, server: LaunchedServer, opened: ExitStack) -> None:
        super().__init__(policy)
        self._server, self._opened = server, opened

    def keep_output(self, folder: Path) -> None:
        super().keep_output(folder)
        self._server.keep_output(folder)

    def close(self) -> None:
        with self._opened:
            super().close()
