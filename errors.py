"""The errors a user can do something about.

Each message says what was expected, what was found and what to do. The command line prints the message alone; anything that is
not a `VlagymError` is a bug and keeps its traceback.
"""


class VlagymError(Exception):
    """Base of all errors that are the caller's or the machine's to mend."""


class ConfigError(VlagymError):
    """A setting, name or combination of settings that cannot be run."""


class AssetError(VlagymError):
    """Benchmark data that is missing, damaged or not what the manifest says."""


class DependencyError(VlagymError):
    """A package, system library or driver that a part needs and this machine lacks, or has in a version that changes results."""


class PolicyError(VlagymError):
    """A policy that broke its contract: wrong shape, dtype or number of actions, or a value that is not finite."""


class EnvError(VlagymError):
    """An environment used outside its contract: unknown task or trial, wrong action, stepping an episode that has ended."""


class RunError(VlagymError):
    """A run folder that cannot be read, resumed or trusted."""


class StorageError(RunError):
    """A disk that is full, read-only or gone, or files of a run that were taken away; no other episode would fare better."""
