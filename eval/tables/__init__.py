"""A run read back from its folder, its success tables and their statistics."""
