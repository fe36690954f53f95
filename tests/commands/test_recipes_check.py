"""`vistadpo recipes check`: what it says of a recipe, against a model's own parameters, batches and activations."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import FRAME_TOKENS, FRAMES, Demo, tiny_recipe, write_rows

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.recipes import main, shipped
from vistadpo_plugin.recipe_check import cost, memory, tokens
from vistadpo_plugin.recipe_check.model import ModelShape, shape_of
from vistadpo_plugin.recipe_check.recipe import gpus_of, read_recipe
from vistadpo_plugin.scoring.fast.kept_activations import GIB, KeptActivations

RECIPES = sorted(shipped().glob("*.yaml"))
LLAMA_7B = shape_of("LanguageBind/Video-LLaVA-7B-hf", "video_llava")


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command sets them for its own process."""
    monkeypatch.setenv("LLAMAFACTORY_VERBOSITY", "ERROR")
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Exit code, standard output and standard error of the command."""

    def run(*argv: Any) -> tuple[int, str, str]:
        code = main(["check", *map(str, argv)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def complete(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe on the tiny model and the eight rows of the demo that carry everything."""
    folder = tmp_path_factory.mktemp("complete")
    data = write_rows(folder / "rows", demo.rows[:8])
    recipe = {**tiny_recipe(demo, folder / "out"), "dataset": "rows", "dataset_dir": str(data.parent)}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_ships_passes(path: Path, check: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = check(path.stem)
    assert (code, err) == (0, "") and out.isascii()
    assert "takes it" in out and "DOES NOT FIT" not in out
    assert max(map(len, out.splitlines())) <= 120
    total = re.search(r"^total +([\d.]+)", out, re.MULTILINE)
    if total is not None:  # the head promises what the parts add up to, and a margin for fragmentation
        head = float(re.search(r"^#   memory: +about (\d+) GB", path.read_text(), re.MULTILINE)[1])
        assert 0.6 * head < float(total[1]) * GIB / 1e9 < head


def test_page_of_a_tiny_recipe(demo: Demo, complete: Path, check: Callable[..., tuple[int, str, str]]) -> None:
    """Tokens of the demo's model: 8 frames of 2 x 2 patches and a class token; rows counted in their JSON."""
    code, out, _ = check(complete, "vista_clip_weight=0.25", "vista_token_weight=0")
    assert code == 0
    said = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert said["vista_clip_weight"][1:3] == ["0.25", "changed"]
    assert said["vista_token_alpha"][1:3] == ["0.5", "default"]
    assert re.search(r"^full video +8 +40$", out, re.MULTILINE)
    assert re.search(r"^keyframe +1 +5$", out, re.MULTILINE)
    assert re.search(r"^token +off$", out, re.MULTILINE)
    # Without the token term nobody looks at the rejected answer on the keyframe.
    assert "A row with every grounding: 8 answers over 6 views." in out
    assert "\n8 rows in " in out and "with event 8, keyframe 8, box 8, irrelevant answer 8;" in out
    assert "`cutoff_len: 512`: fits" in out
    assert "No estimate of memory: the recipe is for a CPU." in out
    changed = check(complete, "cutoff_len=64", "stage=dpo")
    assert changed[0] == 0 and "`stage: dpo` is its own" in changed[1]
    assert "DOES NOT FIT" in check(complete, "cutoff_len=64")[1]


def test_rows_with_rejected_views_of_their_own_are_counted_and_priced(
    demo: Demo, complete: Path, tmp_path: Path, check: Callable[..., tuple[int, str, str]]
) -> None:
    """One more view is encoded a row, as where rejected videos are black: none is the mate's own."""
    assert "of their own" not in check(complete)[1]
    videos = len({row["video"] for row in demo.rows[:8]})
    assert f"reads 5 frames of each of {videos} videos" in check(complete, "vista_mates=alike")[1]
    rows = [{**row, "rejected_video": demo.rows[12]["video"]} for row in demo.rows[:3]] + demo.rows[3:8]
    write_rows(tmp_path, rows)
    out = check(complete, f"dataset_dir={tmp_path}")[1]
    assert "rejected view of their own 3; of these" in out and "(3 with a rejected view of their own)" in out
    costs = {line[:33].strip(): line[33:].split() for line in out.splitlines() if line[:33].strip()}
    assert costs["this recipe"][:2] == ["9", "5"] and costs["rejected videos of their own"][:2] == ["9", "6"]
    taught = check(complete, "vista_video_negative=drop", "vista_temporal_magnitude=curriculum")[1]
    assert "3 more answers a row for a reference cache, one for each\nfurther magnitude of video." in taught
    black = check(complete, "vista_video_negative=black")[1]
    (line,) = [line for line in black.splitlines() if line.startswith("this recipe ")]
    assert line[33:].split() == costs["rejected videos of their own"]


def test_rows_with_lists_of_rejected_answers_are_counted_and_priced(
    demo: Demo, complete: Path, tmp_path: Path, check: Callable[..., tuple[int, str, str]]
) -> None:
    """Two more answers on the full video, and on no other. Packed they cost their own tokens; one row an answer costs
    the video twice more, with less than 60 tokens of text each."""
    rows = [{**row, "rejected": [row["rejected"], "One.", "Two."]} for row in demo.rows[:3]] + demo.rows[3:8]
    write_rows(tmp_path, rows)
    found = {}
    for name, changes in (("plain", []), ("lists", [f"dataset_dir={tmp_path}"])):
        out = check(complete, *changes)[1]
        costs = {line[:33].strip(): line[33:].split() for line in out.splitlines() if line[:33].strip()}
        found[name] = {way: [int(costs[way][0]), int(costs[way][2])] for way in ("this recipe", "one row an answer")}
    assert "several rejected answers 3; of these" in out and "and up to 2 more rejected of " in out
    assert "chosen, rejected, irrelevant, rejected[1], rejected[2]" in out
    assert "11 answers over 6 views" in out
    more = {way: [two - one for one, two in zip(found["plain"][way], found["lists"][way], strict=True)] for way in costs
            if way in found["plain"]}  # fmt: skip
    video = FRAMES * FRAME_TOKENS
    assert more["this recipe"][0] == more["one row an answer"][0] == 2
    assert 0 < more["this recipe"][1] < 20 and 2 * video < more["one row an answer"][1] < 2 * (video + 60)


def test_what_training_would_refuse_is_refused_here(
    complete: Path, tmp_path: Path, check: Callable[..., tuple[int, str, str]]
) -> None:
    """By the very checks of the workflow, one of them on the output folder."""
    (tmp_path / "adapter_config.json").write_text("{}")
    for changes, sentence in (
        (["streaming=true", "max_steps=1"], "`streaming: true` does not go with `stage: vistadpo`"),
        ([f"output_dir={tmp_path}", "finetuning_type=full"], "holds the adapter of an earlier LoRA run"),
    ):
        code, _, err = check(complete, *changes)
        assert code == 2 and " would not start: " in err and sentence in err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("learning_rat=1", "learning_rat"),
        ("vista_clip_weigth=1", "Did you mean `vista_clip_weight`?"),
        ("pref_loss=orpo", "allowed: sigmoid, hinge, ipo"),
        ("finetuning_type=full", "Quantization is only compatible with the LoRA"),
        ("deepspeed=no_such_file.json", "no_such_file.json"),
    ],
)
def test_what_would_not_start_is_refused_in_the_hosts_words(
    complete: Path, check: Callable[..., tuple[int, str, str]], change: str, sentence: str
) -> None:
    code, out, err = check(complete, change, "quantization_bit=4")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert err.startswith("vistadpo recipes: LLaMA-Factory refuses ") and sentence in err


def test_what_is_no_recipe_is_refused(tmp_path: Path, check: Callable[..., tuple[int, str, str]]) -> None:
    assert "no such file" in check(tmp_path / "nothing.yaml")[2]
    assert "a recipe is a .yaml file" in check("no_recipe_of_ours")[2]
    (tmp_path / "list.yaml").write_text("- stage: vistadpo\n")
    (tmp_path / "broken.yaml").write_text("stage: [vistadpo\n")
    (tmp_path / "number.yaml").write_text("5\n")
    (tmp_path / "bytes.yaml").write_bytes(b"stage: \xff\n")
    for name in ("list", "broken", "number", "bytes"):
        code, _, err = check(tmp_path / f"{name}.yaml")
        assert code == 2 and f"{name}.yaml" in err and err.count("\n") == 1


@pytest.mark.parametrize("deep", ["[" * 5000 + "]" * 5000, "{a: " * 5000 + "}" * 5000, "a: " + "[" * 400 + "]" * 400])
def test_deep_nesting_is_refused(tmp_path: Path, check: Callable[..., tuple[int, str, str]], deep: str) -> None:
    """In the recipe, in a value of it, and in a recipe for `vistadpo evaluate`."""
    for number, text in enumerate((deep, f"stage: vistadpo\noptim_args: {deep}\n", f"benchmarks: {deep}\n")):
        recipe = tmp_path / f"deep-{number}.yaml"
        recipe.write_text(text)
        code, out, err = check(recipe)
        assert (code, out) == (2, "") and recipe.name in err and "Traceback" not in err and len(err) < 500
    code, _, err = check("vistadpo_demo", f"ray_init_kwargs={'[' * 5000}")
    assert code == 2 and "vistadpo_demo.yaml" in err and len(err) < 500
    assert "--gpus 0" in check("vistadpo_videollava", "--gpus", "0")[2]


def test_hardware_of_a_head() -> None:
    assert gpus_of(["x", "  hardware:  4 GPUs with 80 GB"]) == (4, 80.0)
    assert gpus_of(["  hardware:  1 GPU with 24 GB or more"]) == (1, 24.0)
    assert gpus_of(["  hardware:  2 CPU cores, no GPU"]) == (1, None)
    assert gpus_of(["  machine:   8 x NVIDIA H100 80GB HBM3"]) == (8, None)


@dataclass
class Loaded:
    """The tiny recipe as it is checked, and as it is trained."""

    recipe: Any
    parts: Any


@pytest.fixture(scope="module")
def loaded(complete: Path) -> Loaded:
    from llamafactory.hparams import get_train_args

    from vistadpo_plugin.training.workflow import prepare

    model_args, data_args, training_args, finetuning_args, _ = get_train_args(yaml.safe_load(complete.read_text()))
    data_args.use_vistadpo = True
    parts = prepare(model_args, data_args, training_args, finetuning_args, trainable=True)
    return Loaded(read_recipe(complete, []), parts)


def test_parameters_are_the_models_own(demo: Demo, loaded: Loaded) -> None:
    """Counted by torch on the loaded model: all, those of the language model, and the adapter's."""
    shape = shape_of(str(demo.model), "video_llava")
    adapter = sum(p.numel() for p in loaded.parts.model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in loaded.parts.model.parameters()) - adapter
    base = loaded.parts.model.get_base_model()
    language = sum(p.numel() for p in base.model.language_model.parameters() if not p.requires_grad)
    assert shape.total == pytest.approx(total, rel=0.001)
    assert shape.language == pytest.approx(language + base.lm_head.weight.numel(), rel=0.001)
    assert memory.trained_parameters(loaded.recipe, shape) == adapter


def test_grouped_heads_biases_and_tied_tables_are_counted(tmp_path: Path) -> None:
    """Qwen2.5-VL: two key heads for four query heads, and one table for embeddings and head."""
    from tiny_qwen import build_tiny_qwen
    from transformers import AutoModelForImageTextToText

    build_tiny_qwen(tmp_path, ["a red ball"])
    shape = shape_of(str(tmp_path), "qwen2_vl")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    assert shape.total == pytest.approx(sum(p.numel() for p in model.parameters()), rel=0.02)


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize("batch", [1, 2])
def test_positions_are_those_of_the_collators_groups(loaded: Loaded, batch: int, sharing: bool) -> None:
    """Over all rows in batches of mates; answers that begin alike share a token or two more in the real ones."""
    from vistadpo_plugin.data.batches.pairing import PairedSampler

    dataset, collator = loaded.parts.datasets["train_dataset"], loaded.parts.collator
    order = list(PairedSampler(dataset, shuffle=False, mates_together=True))
    collator.sharing = sharing
    groups = [
        group
        for first in range(0, len(order), batch)
        for group in collator([dataset[pair] for pair in order[first : first + batch]])["groups"]
    ]
    tokenizer = tokens.tokenizer_of(loaded.recipe)
    texts = tokens.texts_of(tokens.rows_of(loaded.recipe).good, tokenizer)
    views = tokens.views_of(loaded.recipe, tokenizer)
    counted = cost.work_of(VistaArguments(vista_prefix_sharing=sharing), views, texts, batch, collator.row_tokens)
    positions = sum(group["input_ids"].numel() for group in groups) / len(order)
    assert counted.positions == pytest.approx(positions, rel=0.05)
    assert counted.tokens == pytest.approx(sum(len(g["answers"]["token"]) for g in groups) / len(order), rel=0.1)


def test_plain_dpos_length_is_the_hosts(loaded: Loaded) -> None:
    """What the host's own processor makes of the same rows: two sequences, of which the longer decides."""
    from llamafactory.data.processor.pairwise import PairwiseDatasetProcessor

    tokenizer = tokens.tokenizer_of(loaded.recipe)
    rows = tokens.rows_of(loaded.recipe).good
    host = PairwiseDatasetProcessor(tokenizer.template, tokenizer.tokenizer, tokenizer.processor, loaded.recipe.data)
    lengths = []
    for row in rows:
        answers = [{"role": "assistant", "content": text} for text in (row.chosen, row.rejected)]
        prompt = [{"role": "user", "content": row.prompt}]
        chosen, _, rejected, _ = host._encode_data_example(
            prompt=prompt, response=answers, system=None, tools=None, images=[], videos=["x"], audios=[]
        )
        lengths.append(2 * max(len(chosen), len(rejected)))
    views = tokens.views_of(loaded.recipe, tokenizer)
    plain = cost.plain_work(views, tokens.texts_of(rows, tokenizer))
    assert plain.positions == pytest.approx(sum(lengths) / len(lengths), rel=0.03)


def test_published_shape_has_the_known_numbers() -> None:
    """LLaMA-7B has 6,738,415,616 parameters; 64 more tokens add 2 x 64 x 4096. QLoRA's r = 64 on all its matrices is
    159,907,840."""
    assert LLAMA_7B.language == 6_738_415_616 + 2 * 64 * 4096
    assert memory.lora_parameters(LLAMA_7B, 64, ["all"]) == 159_907_840
    assert memory.lora_parameters(LLAMA_7B, 64, ["q_proj", "v_proj"]) == 32 * 64 * 2 * 8192


def sizes(name: str, *overrides: str, gpus: int = 4) -> dict[str, float]:
    """The table of a recipe that ships, in GiB, for a micro-batch of 10,000 positions."""
    recipe = read_recipe(shipped() / f"{name}.yaml", list(overrides))
    work = cost.Work(9, 6, 6.0, 500.0, 10_000.0, 10_000, 1)
    return {part.name: part.size / GIB for part in memory.parts_of(recipe, LLAMA_7B, work, gpus)}


def test_memory_of_full_tuning_under_zero_2() -> None:
    """Trained: 6.7389e9; all: that and 0.627e9 of towers. Two bytes a weight and gradient, twelve of float32 copy and
    Adam; ZeRO-2 spreads all but the weights. 1 GiB = 1.0737e9 bytes."""
    trained, everything = 6.7389e9 / GIB, (6.7389e9 + 0.627e9) / GIB
    parts = sizes("vistadpo_videollava_full_z2")
    assert parts["weights"] == pytest.approx(2 * everything, rel=1e-3)
    assert parts["gradients"] == pytest.approx(2 * trained / 4, rel=1e-3)
    assert parts["optimizer"] == pytest.approx(12 * trained / 4, rel=1e-3)
    assert parts["reference"] == pytest.approx(2 * everything, rel=1e-3)
    assert parts["checkpoints"] == pytest.approx(10_000 * 32 * 4096 * 2 / GIB)
    more = sizes("vistadpo_videollava_full_z2", gpus=8)
    assert more["optimizer"] == pytest.approx(parts["optimizer"] / 2) and more["weights"] == parts["weights"]
    assert sizes("vistadpo_videollava_full_z2", "vista_reference_cache=x")["reference"] == 0


def test_memory_where_parameters_are_spread() -> None:
    """ZeRO-3: sixteen bytes a trained parameter, two of the reference's, over all GPUs. FSDP: float32 weights."""
    trained, everything = 6.7389e9 / GIB, (6.7389e9 + 0.627e9) / GIB
    zero = sizes("vistadpo_videollava_full_z2", "deepspeed.zero_optimization.stage=3")
    assert zero["weights"] + zero["gradients"] + zero["optimizer"] == pytest.approx(
        ((2 + 2 + 12) * trained + 2 * (everything - trained)) / 4, rel=1e-3
    )
    assert zero["reference"] == pytest.approx(2 * everything / 4, rel=1e-3)
    assert zero["kept"] == 0 and zero["gathered"] == pytest.approx(2e9 / GIB)
    spread = sizes("vistadpo_videollava_full_z2", "deepspeed=null", "fsdp=full_shard", "fsdp_config.version=2")
    assert spread["weights"] + spread["gradients"] + spread["optimizer"] == pytest.approx(
        ((4 + 4 + 8) * trained + 2 * (everything - trained)) / 4, rel=1e-3
    )
    away = sizes(
        "vistadpo_videollava_full_z2", "deepspeed.zero_optimization.stage=3",
        "deepspeed.zero_optimization.offload_optimizer.device=cpu",
    )  # fmt: skip
    assert away["optimizer"] == 0 and away["weights"] == zero["weights"]


def test_memory_of_lora_and_qlora() -> None:
    """159.9M adapter weights: four bytes, four of gradient, eight of Adam; no second model. In 4 bits a matrix takes
    half a byte and a scale, the two tables of 131.3M their two bytes."""
    adapter, everything = 0.15991e9 / GIB, (6.7389e9 + 0.627e9) / GIB
    parts = sizes("vistadpo_videollava", gpus=1)
    assert parts["weights"] == pytest.approx(2 * everything + 4 * adapter, rel=1e-3)
    assert parts["gradients"] + parts["optimizer"] == pytest.approx(12 * adapter, rel=1e-3)
    assert parts["reference"] == 0 and "buckets" not in parts
    # Whole layers, as many as fit into 8 GiB: six of 10,000 positions and 16 x 4096 + 4 x 11008 + 4 x 4096 bytes each.
    assert parts["checkpoints"] == 10_000 * 32 * 4096 * 2 / GIB
    assert parts["kept"] == pytest.approx(6 * 10_000 * 125_952 / GIB)
    packed = sizes("vistadpo_videollava", "quantization_bit=4", gpus=1)
    tables = 0.26267e9 / GIB
    assert packed["weights"] == pytest.approx(0.516 * (everything - tables) + 2 * tables + 4 * adapter, rel=1e-3)
    # One answer position a token: no more than a chunk of 2^25 logits, five times four bytes each.
    assert parts["logits"] == pytest.approx(5 * 4 * 500 * 32064 / GIB)
    everywhere = sizes("vistadpo_videollava", "disable_gradient_checkpointing=true", gpus=1)
    assert everywhere["activations"] > 32 * parts["one layer"] * 0.99 and "checkpoints" not in everywhere


@pytest.mark.parametrize("kind", [(2, True), (4, True), (4, False)])
def test_bytes_a_layer_keeps(kind: tuple[int, bool]) -> None:
    """Counted by autograd on Llama layers of two shapes, as training runs them."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    from vistadpo_plugin.scoring.fast.fused_lora import fuse_lora
    from vistadpo_plugin.scoring.fast.fused_mlp import fuse_mlps

    width, adapter = kind
    for hidden, intermediate, key_value in ((256, 1024, 256), (512, 1024, 128)):
        config = LlamaConfig(
            vocab_size=64, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=2,
            num_attention_heads=hidden // 32, num_key_value_heads=key_value // 32,
        )  # fmt: skip
        model = LlamaForCausalLM(config).to(torch.bfloat16 if width == 2 else torch.float32)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
        if adapter:
            model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear"))
            for parameter in model.parameters():
                parameter.data = parameter.data.float() if parameter.requires_grad else parameter.data
            fuse_lora(model)
            fuse_mlps(model)
        kept = KeptActivations(model.train(), float("inf"))
        kept.start()
        with torch.autocast("cpu", torch.bfloat16, enabled=width == 2):
            model(input_ids=torch.randint(0, 64, (1, 256)), use_cache=False)
        of_hidden, of_mlp, of_keys = memory.KEPT[kind]
        expected = of_hidden * hidden + of_mlp * intermediate + of_keys * key_value
        assert kept.kept / 2 / 256 == pytest.approx(expected, rel=0.08)


def test_cost_beside_what_was_measured() -> None:
    """docs/performance.md, preset cpu: positions 1168, 1953 and 3852 a row and forward; steps of 1.11 with the
    reference cached, 0.84 with all activations kept, and separate rows 1.98 times ours. Its cold step, 1.35, is
    cheaper than matrix products alone say: a reference without adapter and heads costs less a position."""
    full, frame = 8 * 65, 65
    views = {
        tokens.FULL_VIEW: tokens.View(8, full, False),
        tokens.CLIP_VIEW: tokens.View(8, full, False),
        tokens.KEYFRAME_VIEW: tokens.View(1, frame, False),
    }
    texts = tokens.Texts(36, 11, 18, 17, 19, 0, "")
    shape = ModelShape(512, 16, 512, 512, 1376, 3584, False, 0, "")
    vista = VistaArguments()
    plain = cost.plain_work(views, texts)
    ours = cost.work_of(vista, views, texts, 2, 1536)
    separate = cost.work_of(cost.without_sharing(vista), views, texts, 2, 1536)
    measured = (1168, 1953, 3852)
    assert (plain.positions, ours.positions, separate.positions) == pytest.approx(measured, rel=0.02)
    assert (ours.answers, ours.views, ours.encodes, separate.encodes) == (9, 6, 5, 5)
    base = cost.cost_of(plain, shape, 1, 1.0, True).total

    def ratio(work: cost.Work, again: float, reference: bool) -> float:
        return cost.cost_of(work, shape, 1, again, reference).total / base

    assert ratio(ours, 0.0, False) == pytest.approx(0.84, abs=0.05)
    assert ratio(ours, 0.7, False) == pytest.approx(1.11, abs=0.05)  # half a GiB keeps about 30 % of the layers
    assert 1.35 < ratio(ours, 0.7, True) < 1.6
    assert ratio(separate, 0.85, True) / ratio(ours, 0.7, True) == pytest.approx(1.98, abs=0.12)


def test_two_rows_share_their_videos(check: Callable[..., tuple[int, str, str]]) -> None:
    """One row a micro-batch decodes its unrelated video for itself: six full views in two rows instead of four each."""
    out = check("vistadpo_videollava", "per_device_train_batch_size=1")[1]
    ratios = {line[:33].strip(): float(line.split()[-1]) for line in out.splitlines() if re.search(r"\d\.\d\d$", line)}
    assert ratios["plain DPO"] == 1.0
    assert ratios["two rows a micro-batch"] < 0.85 * ratios["this recipe"]
    assert ratios["reference cached"] < ratios["this recipe"] < ratios["one row an answer"]
    assert "two rows a micro-batch" not in check("vistadpo_videollava", "per_device_train_batch_size=2")[1]
