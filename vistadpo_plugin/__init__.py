"""VistaDPO for LLaMA-Factory: hierarchical preference optimization of video language models.

Importing this package costs nothing on purpose: every interpreter with the plugin installed imports it at
start-up (see `autoload`).
"""

__version__ = "0.1.0"
