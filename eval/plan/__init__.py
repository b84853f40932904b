"""What is to be run: the settings, checked, and the list of episodes that follows from them."""

from .config import RunConfig, load_config
from .plan import plan_episodes, plan_sha256

__all__ = ["RunConfig", "load_config", "plan_episodes", "plan_sha256"]
