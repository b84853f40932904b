"""CALVIN: chains of five language-conditioned subtasks at a table with a drawer, a sliding door, a switch and a button."""

from .suite import CalvinSuite

__all__ = ["CalvinSuite"]
