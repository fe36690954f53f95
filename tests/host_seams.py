"""What this package relies on in LLaMA-Factory and does not own: the table behind test_host_seams.py.

A line is `name | parameters | who`. `name` lies in the module above it. `parameters` are those that we pass or take, in
the host's order; with `...` the host may have others besides; empty where only the name counts; `fields: ...` are
fields of a dataclass, `sets: ...` attributes that a method sets on self. `who` are the files that want it, below
vistadpo_plugin/, with the function in host.py behind a colon.
"""

from __future__ import annotations

SEAMS = """
hparams.parser
    FinetuningArguments | fields: stage, finetuning_type, pref_loss, pref_beta, pref_ftx, pref_bco_weight, \
dpo_label_smoothing, ld_alpha, include_effective_tokens_per_second, disable_shuffling, plot_loss, ref_model, \
ref_model_adapters, ref_model_quantization_bit, use_dft_loss, use_asft_loss, use_eaft_loss, use_hyper_parallel \
| arguments.py, training/workflow.py, training/host_keys.py
    ModelArguments | fields: model_name_or_path, adapter_name_or_path, use_reentrant_gc, video_fps, video_maxlen, \
video_max_pixels, video_min_pixels, flash_attn, shift_attn, mixture_of_depths, use_unsloth, use_unsloth_gc, \
use_v1_kernels, use_kt, enable_liger_kernel, rope_scaling, moe_aux_loss_coef, train_from_scratch, \
split_special_tokens, resize_vocab, add_tokens, add_special_tokens \
| training/workflow.py, training/host_keys.py, serving/frames.py
    DataArguments | fields: template, dataset, eval_dataset, dataset_dir, media_dir, cutoff_len, streaming, \
overwrite_cache, tokenized_path, val_size, packing \
| training/workflow.py, training/host_keys.py, data/rows/processor.py
    TrainingArguments | fields: fp8 | training/host_keys.py
    _TRAIN_ARGS | | host.py:_patch_parser
    _INFER_ARGS | | host.py:_patch_parser
    _EVAL_ARGS | | host.py:_patch_parser
    read_args | args | host.py:_patch_parser, recipe_check/recipe.py
    _parse_args | parser, args, allow_extra_keys | host.py:_patch_parser
hparams
    get_train_args | args | recipe_check/recipe.py, evaluation/probe/measure.py, bench/worker.py, bench/feed.py
    get_infer_args | args | evaluation/inference.py
    read_args | args | recipe_check/recipe.py
    ModelArguments | | serving/frames.py
train.tuner
    run_dpo | model_args, data_args, training_args, finetuning_args, callbacks | host.py:_patch_tuner
    run_exp | args, ... | bench/worker.py
train.trainer_utils
    create_modelcard_and_push | trainer, model_args, data_args, training_args, finetuning_args | training/workflow.py
    create_ref_model | model_args, finetuning_args, ... | training/workflow.py, evaluation/probe/measure.py
    get_batch_logps | logits, labels, ... | bench/released.py
train.dpo.trainer
    CustomDPOTrainer.__init__ | model, ref_model, finetuning_args, processor, ... | training/trainer.py
    CustomDPOTrainer.__init__ | sets: beta, loss_type, label_smoothing, finetuning_args, ref_model, \
model_accepts_loss_kwargs | training/trainer.py
    CustomDPOTrainer.create_accelerator_and_postprocess | | training/trainer.py
    CustomDPOTrainer.save_model | output_dir, _internal_call | training/trainer.py
    CustomDPOTrainer._save | output_dir, state_dict | training/trainer.py
    CustomDPOTrainer._get_train_sampler | | training/trainer.py
    CustomDPOTrainer._get_eval_sampler | eval_dataset | training/trainer.py
    CustomDPOTrainer._get_num_items_in_batch | batch_samples, device | training/trainer.py
    CustomDPOTrainer.compute_loss | model, inputs, return_outputs, ... | training/trainer.py
    CustomDPOTrainer.prediction_step | model, inputs, prediction_loss_only, ignore_keys | training/trainer.py
    CustomDPOTrainer.evaluation_loop | dataloader, ..., metric_key_prefix | training/trainer.py
    CustomDPOTrainer.log | logs, ... | training/trainer.py
    CustomDPOTrainer.create_model_card | | training/trainer.py
data
    get_dataset | template, model_args, data_args, training_args, stage, tokenizer, processor | training/workflow.py
    get_template_and_fix_tokenizer | tokenizer, data_args \
| training/workflow.py, recipe_check/tokens.py, evaluation/vllm_backend/responder.py
    MultiModalDataCollatorForSeq2Seq | fields: tokenizer, model, pad_to_multiple_of, label_pad_token_id, template, \
processor | data/batches/collator.py, bench/released.py
    MultiModalDataCollatorForSeq2Seq.__post_init__ | | data/batches/collator.py
    MultiModalDataCollatorForSeq2Seq.__call__ | features | data/batches/collator.py, bench/released.py
data.converter
    register_dataset_converter | name, dataset_converter | host.py:_patch_converter
    DatasetConverter | fields: dataset_attr, data_args | data/rows/converter.py
data.loader
    get_dataset_list | dataset_names, dataset_dir | host.py:_patch_loader
    _load_single_dataset | dataset_attr, model_args, data_args, training_args | host.py:_patch_file_reader
    load_dataset | path, ..., data_files | host.py:_patch_file_reader
    _get_dataset_processor | data_args, stage, template, tokenizer, processor, do_generate \
| host.py:_patch_dataset_processor
data.parser
    get_dataset_list | dataset_names, dataset_dir | run_record/report.py
    DatasetAttr | fields: load_from, dataset_name, formatting, ranking | host.py:_patch_loader, data/rows/converter.py
data.processor.processor_utils
    DatasetProcessor | fields: template, tokenizer, processor, data_args | data/rows/processor.py
    DatasetProcessor.preprocess_dataset | examples | data/rows/processor.py
    DatasetProcessor.print_data_example | example | data/rows/processor.py
data.processor
    PairwiseDatasetProcessor._encode_data_example | prompt, response, system, tools, images, videos, audios \
| models/exact_frames.py
    SupervisedDatasetProcessor._encode_data_example | prompt, response, system, tools, images, videos, audios \
| models/exact_frames.py
    UnsupervisedDatasetProcessor._encode_data_example | prompt, response, system, tools, images, videos, audios \
| models/exact_frames.py
data.template
    TEMPLATES | | host.py:_patch_template
    Template | fields: mm_plugin, efficient_eos | data/rows/processor.py
    Template.encode_oneturn | tokenizer, messages, system, tools | data/batches/collator.py, data/rows/processor.py
    register_template | name, format_user, format_assistant, format_system, ..., format_prefix, default_system, \
stop_words, ..., replace_eos, ..., mm_plugin | models/pllava.py, models/llava_onevision.py
data.formatter
    StringFormatter | slots, ... | models/pllava.py, models/llava_onevision.py
    EmptyFormatter | slots, ... | models/pllava.py
data.mm_plugin
    get_mm_plugin | name, image_token, video_token, ... | models/pllava.py, models/llava_onevision.py
    MMPluginMixin._get_video_sample_indices | video_stream, ... | models/as_stored.py
    BasePlugin | fields: image_token, video_token, audio_token, expand_mm_tokens | models/exact_frames.py
    BasePlugin.process_messages | messages, images, videos, audios, processor \
| models/exact_frames.py, models/refusal.py
    BasePlugin.process_token_ids | input_ids, labels, images, videos, audios, tokenizer, processor \
| data/batches/collator.py
    BasePlugin.get_mm_inputs | images, videos, audios, imglens, vidlens, audlens, batch_ids, processor \
| models/exact_frames.py
    BasePlugin._get_mm_inputs | images, videos, audios, processor, imglens | models/exact_frames.py
    BasePlugin._validate_input | processor, images, videos, audios | models/exact_frames.py, serving/videos.py
    BasePlugin._validate_messages | messages, images, videos, audios | models/exact_frames.py
    BasePlugin._regularize_videos | videos, ... | models/exact_frames.py
    BasePlugin._preprocess_image | image, image_max_pixels, image_min_pixels, ... | data/views/frames.py
    Qwen2VLPlugin._regularize_videos | videos, ... | models/frame_times.py
    Qwen2VLPlugin._get_qwen_video_stream_metadata | video, video_fps, video_maxlen | models/frame_times.py
    Qwen3VLPlugin.get_mm_inputs | | models/frame_times.py
    InternVLPlugin.get_mm_inputs | images, videos, audios, imglens, vidlens, audlens, batch_ids, processor \
| models/internvl.py
extras.logging
    get_logger | name | training/workflow.py, training/bad_rows.py, reference/fill.py, serving/frames.py
extras.constants
    IGNORE_INDEX | | training/workflow.py, data/batches/collator.py
    IMAGE_PLACEHOLDER | | data/batches/collator.py, data/rows/processor.py, models/exact_frames.py
    VIDEO_PLACEHOLDER | | models/exact_frames.py
extras.misc
    torch_gc | | evaluation/inference.py, evaluation/vllm_backend/responder.py
    get_device_count | | evaluation/vllm_backend/responder.py
extras.ploting
    plot_loss | save_dictionary, keys | training/workflow.py
model
    load_config | model_args | training/workflow.py, evaluation/vllm_backend/responder.py
    load_model | tokenizer, model_args, finetuning_args, is_trainable, ... | training/workflow.py
    load_tokenizer | model_args | training/workflow.py, recipe_check/tokens.py, evaluation/vllm_backend/responder.py
model.loader
    AutoModelForImageTextToText | | host.py:_patch_model_loader
model.model_utils.visual
    _register_composite_model | model_type, ..., vision_model_keys, ... | host.py:_patch_visual
chat.chat_model
    ChatModel.__init__ | sets: engine | serving/chat.py, serving/terminal.py
    ChatModel.achat | messages, system, tools, images, videos, audios, ... | host.py:_patch_chat_model, serving/chat.py
    ChatModel.astream_chat | messages, system, tools, images, videos, audios, ... | host.py:_patch_chat_model
    ChatModel.stream_chat | messages, ..., videos, ..., input_kwargs | serving/terminal.py
    run_chat | | host.py:_patch_chat_model
chat.hf_engine
    HuggingfaceEngine.__init__ | model_args, data_args, finetuning_args, generating_args | evaluation/inference.py
    HuggingfaceEngine.__init__ | sets: model, tokenizer, processor, template, generating_args \
| evaluation/inference.py, serving/chat.py
    HuggingfaceEngine._process_args | model, tokenizer, processor, template, generating_args, messages, ..., videos, \
..., input_kwargs | host.py:_patch_hf_engine, serving/chat.py, evaluation/inference.py
    Thread | | host.py:_patch_hf_engine
api.app
    create_chat_completion_response | request, chat_model | host.py:_patch_api
    create_stream_chat_completion_response | request, chat_model | host.py:_patch_api
api.common
    check_lfi_path | path | serving/requests.py
    SAFE_MEDIA_PATH | | serving/requests.py
"""
