"""A policy server in an environment of its own, started for a run and ended with it, whatever happens.

`server` starts the command, waits until it listens, starts it again if it dies, and ends it; `keeper` is the small process between
us and it, which ends the server's whole process group when we are gone, even killed; `environment` finds or makes the Python
environment it runs in; `settings` reads a policy's settings.
"""

from .policy import LaunchedPolicy
from .server import LaunchedServer
from .settings import Launch, launch_of

__all__ = ["Launch", "LaunchedPolicy", "LaunchedServer", "launch_of"]
