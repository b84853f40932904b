"""SimplerEnv: simulated twins of the Google robot's and the WidowX robot's real evaluations, native on SAPIEN 2.2.2.

Sources: Li et al., "Evaluating Real-World Robot Manipulation Policies in Simulation" (CoRL 2024); simpler-env/SimplerEnv@4ab7178
(protocol) and simpler-env/ManiSkill2_real2sim@ef7a4d4 (environments). Nothing here imports SAPIEN before an environment is built.
"""
