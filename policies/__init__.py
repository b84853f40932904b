"""Policies: one file or folder per adapter, all behind the contract in `vlagym.policies.base`."""
