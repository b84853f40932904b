"""Why episodes failed: geometric questions asked of the moments of an episode that is lived through again."""
