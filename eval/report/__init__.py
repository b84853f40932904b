"""The report: one folder of HTML that shows runs, their numbers and their videos, and works from disk without a network.

It can also be watched while its runs go on, and a folder of runs has an index.
"""

from .build import write_report
from .index import entries_of, write_index
from .watching import watch

__all__ = ["entries_of", "watch", "write_index", "write_report"]
