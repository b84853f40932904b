"""One evaluation: its plan handed to workers and a policy until every episode has its result."""

from .evaluation import Outcome, evaluate, resume

__all__ = ["Outcome", "evaluate", "resume"]
