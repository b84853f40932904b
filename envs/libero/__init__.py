"""LIBERO: 130 tasks in five suites, run exactly as their reference protocol runs them, at any trial, in any order."""
