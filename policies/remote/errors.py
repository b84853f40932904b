"""What can go wrong with what came over a wire."""

from __future__ import annotations

from ...errors import PolicyError


class WireError(PolicyError):
    """A message that is not what the protocol says, or one that says that the server failed. Asking again would not help."""


class LinkError(Exception):
    """The connection broke or the answer is overdue: what was asked is unanswered, and one has to connect again."""


class OverdueError(LinkError):
    """The answer is overdue; the server may still be busy with the question."""
