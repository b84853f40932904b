"""Is one run worse than another, or than a published score?"""
