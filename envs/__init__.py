"""Benchmarks: one folder each, all behind the contract in `vlagym.envs.base`."""
