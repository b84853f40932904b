"""OpenVLA and OpenVLA-OFT: the official checkpoints with current torch and transformers, batched, without code from a checkpoint.

Papers: "OpenVLA: An Open-Source Vision-Language-Action Model" (arXiv:2406.09246) and "Fine-Tuning Vision-Language-Action Models:
Optimizing Speed and Success" (arXiv:2502.19645). Behaviour is that of openvla/openvla c8f03f48 and moojink/openvla-oft 213c5ff8.
Everything that needs torch is imported when a policy is built.
"""
