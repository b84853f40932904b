"""Servers: a policy answers over the network, for other people's harnesses, for robots, or from an environment of its own.

`server` listens and ends gracefully; `desk` batches what all connections ask; one file per protocol (`openpi`, `vla_eval`) holds a
conversation; `served` is what answers, and `adapter` makes one of a policy of vlagym's contract. All but `adapter` need only
NumPy, websockets and msgpack, so that they run inside LeRobot's, JAX's or anybody's environment.
"""
