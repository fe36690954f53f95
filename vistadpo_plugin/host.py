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
| model.loader | a checkpoint that lacks weights of a family's model is an error |
| model.model_utils.visual | families whose towers the host does not name get an entry, so that they are frozen |
| chat.chat_model | videos are read as in training, folders of frames too; the terminal chat takes `/video PATH` |
| chat.hf_engine | videos too long for the model are refused, frames unlike those of training are warned of |
| api.app | folders of frames in requests; status 400 with the reason where the host has 500 |
"""

from __future__ import annotations

import asyncio
import functools
import importlib.metadata
import inspect
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

from vistadpo_plugin import __version__, autoload
from vistadpo_plugin.arguments import VistaArguments, check_vista_names, is_finite_number
from vistadpo_plugin.models import families, family_of
from vistadpo_plugin.run_record.resolved_recipe import given_keys

KNOWN_VERSIONS = ("0.9.5",)
PATCHED = "_vistadpo_patched"


def check_host_version() -> None:
    """Raise ImportError when the installed LLaMA-Factory is not one this plugin was written for."""
    try:
        version = importlib.metadata.version("llamafactory")
    except importlib.metadata.PackageNotFoundError:
        version = "one without package metadata"
    if version not in KNOWN_VERSIONS:
        raise ImportError(
            f"vistadpo-plugin {__version__} patches LLaMA-Factory and knows version "
            f"{', '.join(KNOWN_VERSIONS)}; {version} is installed. Install a known one "
            f"(`pip install llamafactory=={KNOWN_VERSIONS[-1]}`), or set VISTADPO_AUTOLOAD=0 to run LLaMA-Factory "
            "without the plugin."
        )


def patch(module: ModuleType) -> None:
    """Apply our patch to one host module, once."""
    if getattr(module, PATCHED, False):
        return
    check_host_version()
    _PATCHES[module.__name__](module)
    setattr(module, PATCHED, True)


def is_vistadpo(args: Any) -> bool:
    """Whether these fine-tuning or data arguments belong to a `stage: vistadpo` run."""
    return getattr(args, "use_vistadpo", False)


def _patch_parser(parser: ModuleType) -> None:
    @dataclass
    class FinetuningArguments(VistaArguments, parser.FinetuningArguments):
        """The host's fine-tuning arguments plus the vista_* keys."""

        stage: Literal["pt", "sft", "rm", "ppo", "dpo", "kto", "vistadpo"] = field(
            default="sft", metadata={"help": "Which stage will be performed in training."}
        )

        def __post_init__(self) -> None:
            self.use_vistadpo = self.stage == "vistadpo"
            if self.use_vistadpo:
                self.stage = "dpo"  # so that every check the host makes for DPO keeps holding
                self.check_vista_values()
                _check_preference_keys(self)
            elif self.vista_keys_that_differ():
                keys = ", ".join(f"`{key}`" for key in self.vista_keys_that_differ())
                raise ValueError(
                    f"{keys}: no effect in `stage: {self.stage}`. Set `stage: vistadpo`, or remove the key."
                )
            super().__post_init__()

    for arguments in (parser._TRAIN_ARGS, parser._INFER_ARGS, parser._EVAL_ARGS):
        for index, cls in enumerate(arguments):
            if cls is parser.FinetuningArguments:
                arguments[index] = FinetuningArguments

    host_parse_args = parser._parse_args

    @functools.wraps(host_parse_args)
    def parse_args(hf_parser: Any, args: Any = None, allow_extra_keys: bool = False) -> Any:
        args = parser.read_args(args)
        # On the command line argparse takes `--vista-clip-weight` for `--vista_clip_weight`.
        options = [] if isinstance(args, dict) else [arg for arg in args if arg.startswith("--")]
        check_vista_names(args if isinstance(args, dict) else [_option_name(option) for option in options])
        given = given_keys(hf_parser, args)
        parsed = host_parse_args(hf_parser, args, allow_extra_keys)
        for part in parsed:
            if isinstance(part, FinetuningArguments):
                part.given_keys = given  # for the run's own recipe
        return parsed

    parser._parse_args = parse_args


def _option_name(option: str) -> str:
    return option.removeprefix("--").split("=")[0].replace("-", "_")


def _check_preference_keys(args: Any) -> None:
    """Refuse the host's preference keys that have no meaning in the hierarchical objective."""
    if args.pref_loss not in ("sigmoid", "hinge", "ipo"):
        raise ValueError(
            f"`pref_loss: {args.pref_loss}` is not defined for `stage: vistadpo`; allowed: sigmoid, hinge, ipo."
        )
    if not is_finite_number(args.pref_beta) or args.pref_beta <= 0:
        raise ValueError(f"`pref_beta` is {args.pref_beta!r}; `stage: vistadpo` allows a finite number above 0.")
    if not is_finite_number(args.dpo_label_smoothing) or not 0 <= args.dpo_label_smoothing < 0.5:
        raise ValueError(f"`dpo_label_smoothing` is {args.dpo_label_smoothing!r}; allowed: from 0 to below 0.5.")
    unsupported = {
        "pref_ftx": 0.0,
        "pref_bco_weight": 0.0,
        "ld_alpha": None,
        "include_effective_tokens_per_second": False,
    }
    for key, off in unsupported.items():
        if getattr(args, key) != off:
            raise ValueError(f"`{key}` is not supported in `stage: vistadpo`; remove it.")


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
    from vistadpo_plugin.models.exact_frames import ExactFramesPlugin, refuse_cut_prompts

    host_get_dataset_list = loader.get_dataset_list
    host_load_single_dataset = loader._load_single_dataset
    host_get_dataset_processor = loader._get_dataset_processor

    @functools.wraps(host_get_dataset_list)
    def get_dataset_list(*args: Any, **kwargs: Any) -> list[Any]:
        entries = host_get_dataset_list(*args, **kwargs)
        for entry in entries:
            # Our rows are pairs by nature; an entry of dataset_info.json need not say `ranking: true` again.
            entry.ranking = entry.ranking or entry.formatting == "vistadpo"
        return entries

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

    loader.get_dataset_list = get_dataset_list
    loader._load_single_dataset = load_single_dataset
    loader._get_dataset_processor = get_dataset_processor


def _patch_template(template: ModuleType) -> None:
    from vistadpo_plugin.models.exact_frames import ExactFramesPlugin
    from vistadpo_plugin.models.frame_times import keep_frame_times
    from vistadpo_plugin.models.refusal import refuse_wrong_input

    for family in families():
        if family.register is not None:
            family.register()
        for name in family.templates:
            known = template.TEMPLATES[name]
            if family.exact_frames:
                plugin = known.mm_plugin
                known.mm_plugin = ExactFramesPlugin(
                    plugin.image_token, plugin.video_token, plugin.audio_token, family=family
                )
            if family.tells_time:
                known.mm_plugin = keep_frame_times(known.mm_plugin)
            if family.mend is not None:
                known.mm_plugin = family.mend(known.mm_plugin)
            if family.refusal is not None:
                refuse_wrong_input(known.mm_plugin, family)


def _patch_model_loader(loader: ModuleType) -> None:
    from vistadpo_plugin.models.missing_weights import refuse_missing_weights

    # Names of weights are registered with the templates; here is who loads a model without them.
    importlib.import_module("llamafactory.data.template")
    loader.AutoModelForImageTextToText = refuse_missing_weights(loader.AutoModelForImageTextToText)


def _patch_visual(visual: ModuleType) -> None:
    for family in families():
        if family.towers:
            visual._register_composite_model(family.model_type, vision_model_keys=list(family.towers))


def _patch_chat_model(chat_model: ModuleType) -> None:
    host_model = chat_model.ChatModel
    host_achat, host_astream_chat, host_run_chat = host_model.achat, host_model.astream_chat, chat_model.run_chat

    signature = inspect.signature(host_achat)  # the streaming one takes the same

    async def read(*args: Any, **kwargs: Any) -> inspect.BoundArguments:
        """What a question is asked with, its videos as training reads them."""
        from vistadpo_plugin.serving.videos import read_videos

        given = signature.bind(*args, **kwargs)
        given.apply_defaults()
        engine, videos = given.arguments["self"].engine, given.arguments["videos"]
        plugin, processor = engine.template.mm_plugin, engine.processor
        given.arguments["videos"] = await asyncio.to_thread(read_videos, videos, plugin, processor)
        return given

    @functools.wraps(host_achat)
    async def achat(*args: Any, **kwargs: Any) -> Any:
        given = await read(*args, **kwargs)
        return await host_achat(*given.args, **given.kwargs)

    @functools.wraps(host_astream_chat)
    async def astream_chat(*args: Any, **kwargs: Any) -> Any:
        given = await read(*args, **kwargs)
        async for token in host_astream_chat(*given.args, **given.kwargs):
            yield token

    @functools.wraps(host_run_chat)
    def run_chat() -> None:
        from vistadpo_plugin.serving.terminal import with_videos

        # The host's loop stays as it is; only the model that it makes for itself is ours.
        chat_model.ChatModel = with_videos(host_model)
        try:
            host_run_chat()
        finally:
            chat_model.ChatModel = host_model

    host_model.achat, host_model.astream_chat, chat_model.run_chat = achat, astream_chat, run_chat


def _patch_hf_engine(hf_engine: ModuleType) -> None:
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
        from vistadpo_plugin.models.token_kinds import add_token_kinds
        from vistadpo_plugin.serving.videos import refuse_too_long

        inputs, tokens = host_process_args(*args, **kwargs)
        given = parameters.bind(*args, **kwargs).arguments
        add_token_kinds(given["model"], inputs)
        if given.get("videos"):
            refuse_too_long(given["model"], given["processor"], tokens)
        return inputs, tokens

    engine.__init__, engine._process_args = init, staticmethod(process_args)


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


_PATCHES = {
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

autoload.watch()
for _name in _PATCHES:
    _module = sys.modules.get(_name)
    # A module still being imported is patched by the watcher when it is finished.
    if _module is not None and not getattr(_module.__spec__, "_initializing", False):
        patch(_module)
