"""RT-1 and RT-1-X in PyTorch: inference batched over episodes, and a converter for the official TensorFlow checkpoints.

Paper: "RT-1: Robotics Transformer for Real-World Control at Scale" (arXiv:2212.06817). Behaviour is that of
google-research/robotics_transformer 4569641b. Everything that needs torch is imported when a policy is built.
"""
