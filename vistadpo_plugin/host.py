"""Every touch of LLaMA-Factory's internals, and the check of its version. Nowhere else patches anything.

Importing this module (the start-up hook does it when a host module appears; with `VISTADPO_AUTOLOAD=0` you do it by
hand) patches the host modules that are loaded already and watches for the others. Each patch is one function, named by
the host module it changes, and safe to apply in any order:

| host module | what changes |
|---|---|
| hparams.parser | the vista_* keys join the fine-tuning arguments; `stage: vistadpo` becomes `stage: dpo` plus a flag |
| train.tuner | `run_dpo` goes to `run_vistadpo` when that flag is set |
| data.converter | `formatting: vistadpo` (the host's public registration) |
| data.loader | our rows are read by us, and tokenized by us when that flag is set |
| data.template | families (`models/`) join it, or get a plugin that works with transformers 5 or refuses wrong input |
| model.loader | a checkpoint that lacks weights of a family's model is an error; `flash_attn: fa2` works |
| model.model_utils.visual | families whose towers the host does not name get an entry, so that they are frozen |
| chat.chat_model | videos are read as in training, folders of frames too; the terminal chat takes `/video PATH` |
| chat.hf_engine | videos too long are refused, frames unlike training's warned of; Python waits for a reply's thread |
| api.app | folders of frames in requests; status 400 with the reason where the host has 500 |

What these functions and the rest of the package rely on in the host is a table in tests/test_host_seams.py, which fails
for each thing that a new version has no more; docs/architecture.md says how to follow one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from packaging.version import Version

from vistadpo_plugin import __version__, watcher
from vistadpo_plugin.arguments import check_vista_names, keys_set, with_vista_keys
from vistadpo_plugin.models import families, family_of
from vistadpo_plugin.run_record.resolved_recipe import given_keys

PATCHED = "_vistadpo_patched"


@dataclass(frozen=True)
class HostVersion:
    """A release of LLaMA-Factory that this plugin was tested with.

    `transformers`: the oldest release with which our tests pass, and the newest that the host allows. `faults`: what
    the host computes wrongly and we therefore refuse, by the names in `Family.fault`; one that it mends is left out.
    """

    version: str
    transformers: tuple[str, str]
    faults: frozenset[str] = frozenset()


HOSTS = (
    HostVersion(
        "0.9.5",
        transformers=("5.6.0", "5.6.0"),
        faults=frozenset({"qwen3_vl_later_videos", "internvl_video_first"}),
    ),
)
"""The versions we know, oldest first; pyproject.toml says the same to pip."""


def installed_host() -> HostVersion:
    """What is known of the installed LLaMA-Factory.

    Raises ImportError, with the cure, where it is a version we do not know, or its transformers is too old for us.
    """
    version = _installed("llamafactory")
    host = next((host for host in HOSTS if host.version == version), None)
    off = "or set VISTADPO_AUTOLOAD=0 to run LLaMA-Factory without the plugin."
    if host is None:
        raise ImportError(
            f"vistadpo-plugin {__version__} patches LLaMA-Factory and knows version "
            f"{', '.join(host.version for host in HOSTS)}; {version} is installed. Install a known one "
            f"(`pip install llamafactory=={HOSTS[-1].version}`), {off}"
        )
    oldest, newest = host.transformers
    # A newer one than it allows is refused by the host itself, which has a switch for that.
    if Version(_installed("transformers")) < Version(oldest):
        raise ImportError(
            f"vistadpo-plugin {__version__} with LLaMA-Factory {version} needs transformers {oldest} or newer; "
            f"{_installed('transformers')} is installed. Install it (`pip install transformers=={newest}`), {off}"
        )
    return host


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "one without package metadata"


def patch(module: ModuleType) -> None:
    """Apply our patch to one host module, once."""
    if getattr(module, PATCHED, False):
        return
    installed_host()
    PATCHES[module.__name__](module)
    setattr(module, PATCHED, True)


def patch_again(module: ModuleType) -> None:
    """Patch a module whose code has just run: a reload runs it into the same namespace, which says it is patched."""
    module.__dict__.pop(PATCHED, None)
    patch(module)


def is_vistadpo(args: Any) -> bool:
    """Whether these fine-tuning or data arguments belong to a `stage: vistadpo` run."""
    return getattr(args, "use_vistadpo", False)


def _patch_parser(parser: ModuleType) -> None:
    ours = with_vista_keys(parser.FinetuningArguments)
    for arguments in (parser._TRAIN_ARGS, parser._INFER_ARGS, parser._EVAL_ARGS):
        arguments[:] = [ours if cls is parser.FinetuningArguments else cls for cls in arguments]
    host_parse_args = parser._parse_args

    @functools.wraps(host_parse_args)
    def parse_args(hf_parser: Any, args: Any = None, allow_extra_keys: bool = False) -> Any:
        args = parser.read_args(args)
        check_vista_names(keys_set(args))
        given = given_keys(hf_parser, args)
        parsed = host_parse_args(hf_parser, args, allow_extra_keys)
        for part in parsed:
            if isinstance(part, ours):
                part.given_keys = given  # for the run's own recipe
        return parsed

    parser._parse_args = parse_args


def _patch_tuner(tuner: ModuleType) -> None:
    host_run_dpo = tuner.run_dpo

    @functools.wraps(host_run_dpo)
    def run_dpo(
        model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any, callbacks: list | None = None
    ) -> None:
        if is_vistadpo(finetuning_args):
            from vistadpo_plugin.training.workflow import run_vistadpo

            data_args.use_vistadpo = True
            run_vistadpo(model_args, data_args, training_args, finetuning_args, callbacks)
        else:
            family = family_of(data_args.template)
            if family is not None and family.exact_frames:
                # Reentrant checkpointing does not go with DDP and the two forwards of a DPO step. Families that the
                # host trains by itself keep what they have.
                model_args.use_reentrant_gc = False
            host_run_dpo(model_args, data_args, training_args, finetuning_args, callbacks)

    tuner.run_dpo = run_dpo


def _patch_converter(converter: ModuleType) -> None:
    from vistadpo_plugin.data.rows.converter import VistaDatasetConverter

    converter.register_dataset_converter("vistadpo", VistaDatasetConverter)


def _patch_loader(loader: ModuleType) -> None:
    host_get_dataset_list = loader.get_dataset_list

    @functools.wraps(host_get_dataset_list)
    def get_dataset_list(*args: Any, **kwargs: Any) -> list[Any]:
        entries = host_get_dataset_list(*args, **kwargs)
        for entry in entries:
            # Our rows are pairs by nature; an entry of dataset_info.json need not say `ranking: true` again.
            entry.ranking = entry.ranking or entry.formatting == "vistadpo"
        return entries

    loader.get_dataset_list = get_dataset_list
    _patch_file_reader(loader)
    _patch_dataset_processor(loader)


def _patch_file_reader(loader: ModuleType) -> None:
    host_load_single_dataset = loader._load_single_dataset

    @functools.wraps(host_load_single_dataset)
    def load_single_dataset(dataset_attr: Any, model_args: Any, data_args: Any, training_args: Any) -> Any:
        if dataset_attr.formatting != "vistadpo" or dataset_attr.load_from != "file":
            return host_load_single_dataset(dataset_attr, model_args, data_args, training_args)

        from vistadpo_plugin.data.rows.reader import load_rows

        # Only the host's file reader is exchanged (Arrow wants one type a field throughout a file, rows do not keep to
        # that); sampling, max_samples, streaming and conversion stay the host's.
        host_load_dataset = loader.load_dataset
        loader.load_dataset = load_rows
        try:
            return host_load_single_dataset(dataset_attr, model_args, data_args, training_args)
        finally:
            loader.load_dataset = host_load_dataset

    loader._load_single_dataset = load_single_dataset


def _patch_dataset_processor(loader: ModuleType) -> None:
    from vistadpo_plugin.models.exact_frames import ExactFramesPlugin, refuse_cut_prompts

    host_get_dataset_processor = loader._get_dataset_processor

    @functools.wraps(host_get_dataset_processor)
    def get_dataset_processor(
        data_args: Any, stage: str, template: Any, tokenizer: Any, processor: Any, do_generate: bool = False
    ) -> Any:
        if is_vistadpo(data_args):
            from vistadpo_plugin.data.rows.processor import VistaDatasetProcessor

            return VistaDatasetProcessor(template, tokenizer, processor, data_args)
        made = host_get_dataset_processor(data_args, stage, template, tokenizer, processor, do_generate)
        if isinstance(template.mm_plugin, ExactFramesPlugin):
            refuse_cut_prompts(made)
        return made

    loader._get_dataset_processor = get_dataset_processor


def _patch_template(template: ModuleType) -> None:
    from vistadpo_plugin.models.as_stored import say_as_stored
    from vistadpo_plugin.models.mending import mended
    from vistadpo_plugin.models.refusal import refuse_wrong_input

    say_as_stored()
    faults = installed_host().faults
    for family in families():
        if family.register is not None:
            family.register()
        for name in family.templates:
            known = template.TEMPLATES[name]
            known.mm_plugin = mended(known.mm_plugin, family)
            if family.fault in faults:
                refuse_wrong_input(known.mm_plugin, family)


def _patch_model_loader(loader: ModuleType) -> None:
    from vistadpo_plugin.models.flash_attention import allow_no_sinks
    from vistadpo_plugin.models.missing_weights import refuse_missing_weights

    # Names of weights are registered with the templates; here is who loads a model without them.
    importlib.import_module("llamafactory.data.template")
    loader.AutoModelForImageTextToText = refuse_missing_weights(loader.AutoModelForImageTextToText)
    allow_no_sinks()


def _patch_visual(visual: ModuleType) -> None:
    for family in families():
        if family.towers:
            visual._register_composite_model(family.model_type, vision_model_keys=list(family.towers))


def _patch_chat_model(chat_model: ModuleType) -> None:
    from vistadpo_plugin.serving.chat import reads_videos, stream_reads_videos

    host_model, host_run_chat = chat_model.ChatModel, chat_model.run_chat

    @functools.wraps(host_run_chat)
    def run_chat() -> None:
        from vistadpo_plugin.serving.terminal import with_videos

        # The host's loop stays as it is; only the model that it makes for itself is ours.
        chat_model.ChatModel = with_videos(host_model)
        try:
            host_run_chat()
        finally:
            chat_model.ChatModel = host_model

    host_model.achat, host_model.astream_chat = (
        reads_videos(host_model.achat),
        stream_reads_videos(host_model.astream_chat),
    )
    chat_model.run_chat = run_chat


def _patch_hf_engine(hf_engine: ModuleType) -> None:
    from vistadpo_plugin.serving.replies import WritingThread

    engine = hf_engine.HuggingfaceEngine
    host_init, host_process_args = engine.__init__, engine._process_args
    parameters = inspect.signature(host_process_args)

    @functools.wraps(host_init)
    def init(self: Any, model_args: Any, *args: Any, **kwargs: Any) -> None:
        from vistadpo_plugin.serving.frames import warn_of_other_frames

        host_init(self, model_args, *args, **kwargs)
        warn_of_other_frames(model_args)

    @functools.wraps(host_process_args)
    def process_args(*args: Any, **kwargs: Any) -> tuple[dict[str, Any], int]:
        from vistadpo_plugin.serving.chat import complete

        inputs, tokens = host_process_args(*args, **kwargs)
        complete(inputs, tokens, parameters.bind(*args, **kwargs).arguments)
        return inputs, tokens

    engine.__init__, engine._process_args = init, staticmethod(process_args)
    hf_engine.Thread = WritingThread


def _patch_api(app: ModuleType) -> None:
    host_respond, host_stream = app.create_chat_completion_response, app.create_stream_chat_completion_response

    @functools.wraps(host_respond)
    async def respond(request: Any, chat_model: Any) -> Any:
        from vistadpo_plugin.serving import requests as served_requests

        return await served_requests.respond(host_respond, request, chat_model)

    @functools.wraps(host_stream)
    def stream(request: Any, chat_model: Any) -> Any:
        from vistadpo_plugin.serving import requests as served_requests

        return served_requests.stream(host_stream, request, chat_model)

    app.create_chat_completion_response, app.create_stream_chat_completion_response = respond, stream


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "llamafactory.hparams.parser": _patch_parser,
    "llamafactory.train.tuner": _patch_tuner,
    "llamafactory.data.converter": _patch_converter,
    "llamafactory.data.loader": _patch_loader,
    "llamafactory.data.template": _patch_template,
    "llamafactory.model.loader": _patch_model_loader,
    "llamafactory.model.model_utils.visual": _patch_visual,
    "llamafactory.chat.chat_model": _patch_chat_model,
    "llamafactory.chat.hf_engine": _patch_hf_engine,
    "llamafactory.api.app": _patch_api,
}

watcher.watch(PATCHES, patch_again)
for _name in PATCHES:
    _module = sys.modules.get(_name)
    # A module still being imported is patched by the watcher when it is finished.
    if _module is not None and not getattr(_module.__spec__, "_initializing", False):
        patch(_module)
