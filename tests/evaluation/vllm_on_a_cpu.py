"""What vLLM's workers are extended with in tests: ours, and a cure for adapters where there is no GPU.

vLLM 0.22.1 pins the memory in which it maps adapters to tokens wherever it runs, which torch cannot without a driver.
"""

from vllm.utils.torch_utils import async_tensor_h2d

from vistadpo_plugin.evaluation.vllm_backend.worker import TrainedPositions

async_tensor_h2d.__defaults__ = (False,)


class OnACpu(TrainedPositions):
    """Nothing more."""
