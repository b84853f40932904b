"""`policy=small`: a network of a few hundred kilobytes that learned tasks of ``suite=robosuite`` from pixels; it runs in NumPy."""
