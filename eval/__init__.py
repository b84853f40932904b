"""The evaluation from plan to report."""
