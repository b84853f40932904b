"""Finds the packages: the repository's root is the package `vlagym`, and these folders are its parts."""

from setuptools import find_packages, setup

PARTS = ("conf", "edges", "envs", "eval", "policies", "results")

parts = find_packages(include=[pattern for part in PARTS for pattern in (part, f"{part}.*")])
setup(package_dir={"vlagym": "."}, packages=["vlagym", *(f"vlagym.{part}" for part in parts)])
