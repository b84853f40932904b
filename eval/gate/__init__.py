"""Run only as many episodes as it takes to tell whether a policy got worse."""
