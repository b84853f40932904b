"""How fast things are: environments, a policy, and the commands that read large runs."""
