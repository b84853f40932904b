"""RoboVLMs with Kosmos-2 and an LSTM policy head: the released checkpoints with current torch and transformers, batched.

Paper: "Towards Generalist Robot Policies: What Matters in Building Vision-Language-Action Models" (arXiv:2412.14058). Behaviour is
that of Robot-VLAs/RoboVLMs 8adc1d28. Everything that needs torch is imported when a policy is built.
"""
