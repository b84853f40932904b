"""robosuite 1.4: its own single-arm tasks as a benchmark, and the engine that LIBERO shares with them."""
