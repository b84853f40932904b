"""The report: one folder of HTML that shows runs, their numbers and their videos, and works from disk without a network."""

from .build import write_report

__all__ = ["write_report"]
