"""Finds the packages: the repository's root is the package `vlagym`, and these folders are its parts."""

from setuptools import find_namespace_packages, setup

PARTS = ("conf", "edges", "envs", "eval", "policies", "results")

# Folders that hold only data (conf/suite, results/published) are namespace packages: they have no `__init__.py`.
parts = find_namespace_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")], exclude=["*.__pycache__"])
# The script's name keeps it out of the package, whose folder is its own.
setup(script_name="setup.py", package_dir={"vlagym": "."}, packages=["vlagym", *(f"vlagym.{part}" for part in parts)])
