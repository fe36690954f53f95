"""What can be asked through vLLM, and what cannot: said before anything is loaded, and without vLLM."""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from packaging.specifiers import SpecifierSet

from vistadpo_plugin.models import families, family_of

VLLM = "vllm"
BACKENDS = ("huggingface", VLLM)
ENGINE_KEYS = ("vllm_maxlen", "vllm_gpu_util", "vllm_enforce_eager", "vllm_max_lora_rank", "vllm_config")
"""The host's keys of its vLLM engine."""
UNKNOWN = (
    "adapter_folder",
    "resize_vocab",
    "flash_attn",
    "use_kv_cache",
    "low_cpu_mem_usage",
    "rope_scaling",
    "quantization_bit",
    "quantization_method",
    "quantization_type",
    "double_quantization",
    "quantization_device_map",
)
"""The host's keys that its own inference alone follows."""
VERSIONS = SpecifierSet(">=0.22.1,<0.23")
"""The releases whose input format we know; tested with the first."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The largest ranks that vLLM can be told to expect."""

_LANGUAGE_LAYER = re.compile(r"\.language_model\.layers\.\d+\..*\.lora_[AB]\.weight$")
_MORE_THAN_LORA = ("use_dora", "modules_to_save", "bias", "rank_pattern", "alpha_pattern")
_EXPORT = (
    "Merge the adapter with `llamafactory-cli export`, and name that folder in `model_name_or_path`; or leave "
    "`infer_backend` out."
)


@dataclass(frozen=True)
class Support:
    """How a family's video goes to vLLM.

    `modality`: as a video, or every frame as an image. `lead`: tokens before the first of the video's that vLLM wants
    in its place too (the start of a frame, which it looks for). `counts_positions`: whether vLLM's position ids differ
    from those of transformers 5, see `worker`.
    """

    modality: Literal["video", "image"] = "video"
    lead: int = 0
    counts_positions: bool = False


SUPPORTED = {
    "qwen2_vl": Support(counts_positions=True),
    "qwen2_5_vl": Support(counts_positions=True),
    "qwen3_vl": Support(lead=1),
    "internvl": Support("image"),
}
"""By the `model_type` of their config. The others:

- vLLM has no Video-LLaVA and no PLLaVA.
- LLaVA-NeXT-Video and LLaVA-OneVision get no adapters there, and it does not read the names that transformers 5 gives
  to their towers' weights, as `llamafactory-cli export` writes them: a tuned model could not be asked.
- Of Qwen3.5 we have not seen the same replies: it was not brought to run on a CPU.
"""


def refusal(keys: Mapping[str, Any]) -> str | None:
    """Why a model of these keys cannot be asked through vLLM, as far as the keys say; None where it can."""
    unknown = [key for key in UNKNOWN if key in keys]
    if unknown:
        return (
            f"`{unknown[0]}` is a key of the host's own inference, which vLLM does not follow. Leave one of them out."
        )
    family = family_of(keys["template"])
    if family is None or family.model_type not in SUPPORTED:
        names = ", ".join(family.name for family in families() if family.model_type in SUPPORTED)
        whose = f"the template {keys['template']}" if family is None else family.name
        return f"`infer_backend: vllm` is not for {whose}, but for {names}. Leave it out: the host asks every model."
    if "adapter_name_or_path" not in keys:
        return None
    if "," in keys["adapter_name_or_path"]:
        return f"vLLM takes one adapter, and `adapter_name_or_path` names several. {_EXPORT}"
    return None


def check_ready(keys: Mapping[str, Any]) -> None:
    """Raise ValueError, with what to do, where vLLM is not here, or cannot put the adapter on."""
    version = installed_version()
    if version is None:
        raise ValueError(
            "`infer_backend: vllm`, and vLLM is not installed here. Install it (docs/evaluation.md says how), or leave "
            "`infer_backend` out: the host asks every model by itself."
        )
    if version not in VERSIONS:
        raise ValueError(
            f"`infer_backend: vllm` needs vllm{VERSIONS}, whose input format it knows; {version} is installed. Install "
            "a known one, or leave `infer_backend` out."
        )
    if "adapter_name_or_path" in keys:
        lora_rank(keys["adapter_name_or_path"])


@functools.cache
def installed_version() -> str | None:
    """vLLM's version, whatever package brings it (its builds for CPUs go by other names); None where none does."""
    packages = importlib.metadata.packages_distributions().get(VLLM)
    return importlib.metadata.version(packages[0]) if packages else None


def lora_rank(adapter: str) -> int:
    """The rank of an adapter. Raises ValueError for one that vLLM would not put on, or not all of it."""
    from peft import PeftConfig
    from peft.utils import load_peft_weights

    config = PeftConfig.from_pretrained(adapter)
    if config.peft_type != "LORA":
        raise ValueError(f"the adapter {adapter} is {config.peft_type}, and vLLM knows LoRA. {_EXPORT}")
    more = [key for key in _MORE_THAN_LORA if getattr(config, key) not in (False, None, "none", {}, [])]
    more += [name for name in load_peft_weights(adapter, device="cpu") if not _LANGUAGE_LAYER.search(name)]
    if more:
        raise ValueError(
            f"the adapter {adapter} is more than plain LoRA on the language model's layers ({more[0]}), and vLLM would "
            f"leave that out. {_EXPORT}"
        )
    if config.r > LORA_RANKS[-1]:
        raise ValueError(f"the adapter {adapter} has rank {config.r}, vLLM takes up to {LORA_RANKS[-1]}. {_EXPORT}")
    return config.r
