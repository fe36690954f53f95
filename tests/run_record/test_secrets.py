"""Nothing secret is written down with a recipe, and nothing that a recipe needs is left out of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from vistadpo_plugin.arguments import VistaArguments
from vistadpo_plugin.commands.recipes import shipped
from vistadpo_plugin.run_record.resolved_recipe import hide_secrets, resolve

# Under a name, nothing about the value tells.
VALUE = "swordfish"
# Under a plain name, the value has to tell: made up, of the length and letters that each provider documents.
LETTERS = "aB3dE5fG7hJ9kL1mN2pQ4rS6tU8vW0xY"
HF = f"hf_{LETTERS}xy"

NAMES = """
OPENAI_KEY OPENAI_API_KEY api_key apiKey apikey API-KEY x-api-key X_API_KEY access_key accessKeyId AWS_SECRET_ACCESS_KEY
AWS_ACCESS_KEY_ID private_key privateKey secret_key secret client_secret clientSecret password passwd pwd db_password
DB_PASS userPassword passphrase token accessToken access_token refresh_token hfToken HF_TOKEN HUGGING_FACE_HUB_TOKEN
hub_token auth_token authToken bearer_token Authorization authorization auth basic_auth SLACK_WEBHOOK slackWebhookUrl
webhook_url cookie cookies session_cookie sessionid GITHUB_PAT pat dsn SENTRY_DSN credential credentials creds
connection_string account_key storageAccountKey ssh_key signing_key encryption_key wandb_key COMET_KEY kaggleKey
passWord TOKEN_HF keyOpenAI jwt oauth_token signature netrc key api_tokens passcode _redis_password hftoken openaikey
""".split()

VALUES = {
    "user and password of an address": "https://user:pw@host/path",
    "password of a database": "postgresql://me:swordfish@db.example.org:5432/runs",
    "user alone": "https://0123abcd@o1.ingest.sentry.io/42",
    "without a scheme": "me:swordfish@db.example.org",
    "token in a query": "https://example.org/data.json?token=swordfish",
    "key in a query": "https://example.org/v1?x=1&api_key=swordfish",
    "signed by Amazon": "https://b.s3.amazonaws.com/v.zip?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0a1b2c3d",
    "signed by Google": "https://storage.googleapis.com/b/o?GoogleAccessId=a&Expires=1&Signature=swordfish",
    "signed by Azure": "https://a.blob.core.windows.net/c/f?sv=2024-01-01&sig=swordfish",
    "behind a #": "https://example.org/#access_token=swordfish",
    "escaped": "https%3A%2F%2Fexample.org%2F%3Ftoken%3Dswordfish",
    "a webhook": "https://hooks.slack.com/services/T00000000/B00000000/swordfishswordfish",
    "a webhook of Lark": "https://open.feishu.cn/open-apis/bot/v2/hook/swordfish-swordfish",
    "an assignment": "HF_TOKEN=swordfish",
    "an assignment among others": "lr=1e-5,api_key=swordfish",
    "optim_args": "api_key=swordfish",
    "a header": "Authorization: Bearer swordfish",
    "a line": "steps: 3\npassword: swordfish",
    "an option": "--seed 3 --api-key swordfish",
    "an option with =": "--token=swordfish",
    "Azure's string": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=swordfish",
    "Basic": f"Basic {base64.b64encode(b'me:swordfish').decode()}",
    "Bearer": "Bearer abc123def456",
    "Hugging Face": HF,
    "Hugging Face inside": f"see {HF}.",
    "OpenAI": f"sk-proj-{LETTERS}",
    "OpenAI, old": "sk-abcdefghijklmnopqrstuvwx",
    "Replicate's header": "Token abc123def456",
    "Anthropic": f"sk-ant-api03-{LETTERS}",
    "GitHub": f"ghp_{LETTERS}abcd",
    "GitHub, fine": f"github_pat_{LETTERS}",
    "GitLab": "glpat-aB3dE5fG7hJ9kL1mN2pQ",
    "Slack": "xoxb-123456789012-123456789012-aB3dE5fG7hJ9kL1mN2pQ4rS6",
    "Amazon": "AKIAABCDEFGHIJKLMNOP",
    "Google": f"AIza{LETTERS}abc",
    "Telegram": f"https://api.telegram.org/bot123456789:{LETTERS}abc/send",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJlc2lnbmF0dXJl",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "random letters": LETTERS,
    "JSON": '{"comet": {"api_key": "swordfish"}}',
    "JSON in a list": '[{"password": "swordfish"}]',
    "JSON in JSON": json.dumps({"inner": json.dumps({"token": "swordfish"})}),
    "torn JSON": '{"comet": {"api_key": "swordfish"}',
    "Python": "{'api_key': 'swordfish'}",
    "a list": ["HF_TOKEN=swordfish"],
    "a list of options": ["--env", "A=1", "--hub-token", "swordfish"],
    "a list of pairs": [["HF_TOKEN", "swordfish"]],
    "name and value": {"vars": [{"name": "HF_TOKEN", "value": "swordfish"}]},
    "nested": {"a": {"b": [{"c": {"accessToken": "swordfish"}}]}},
    "an environment": {"env": {"HARMLESS": "swordfish"}},
    "Ray's environment": {"runtime_env": {"env_vars": {"HARMLESS": "swordfish"}}},
    "environment as a list": {"environment": ["HARMLESS=swordfish"]},
    "environment as a text": {"env_vars": "HARMLESS=swordfish"},
    "headers": {"headers": {"X-Harmless": "swordfish"}},
    "a path": Path("/data/x?token=swordfish"),
    "a name": {HF: 1},
}  # fmt: skip

ORDINARY = [
    *("bf16", "cosine_with_min_lr", "adamw_torch_fused", "constant", "q_proj,k_proj", "auto", "none", "no"),
    *("1e-5", "007", "0.9,0.95", "1,2", "2026-01-02", "10:30", "0:00:12.5", "3.2-5.0", "50%", "16GB"),
    *("LanguageBind/Video-LLaVA-7B-hf", "Qwen/Qwen2.5-VL-7B-Instruct", "OpenGVLab/InternVL3-8B-hf"),
    *("llava-hf/llava-onevision-qwen2-7b-ov-hf", "/models/Llama-2-7b-chat-hf/snapshots", "saves/run_3/checkpoint-200"),
    *("data/vistadpo_7k/rows.jsonl", "/data/My Videos (2024)/A_b-C.d", r"C:\data\videos", "~/videos", "../a:c"),
    "/home/me/.cache/huggingface/hub/models--Qwen--Qwen2.5-VL-7B-Instruct/snapshots/" + hashlib.sha1(b"a").hexdigest(),
    *(hashlib.new(name, b"a").hexdigest() for name in ("md5", "sha1", "sha256", "sha512")),
    *("sha256:" + hashlib.sha256(b"a").hexdigest(), "8f16d1d", "123e4567-e89b-12d3-a456-426614174000"),
    *("repo/image:1.2@sha256:" + hashlib.sha256(b"a").hexdigest(), "v1.2.3+cu128", "2.11.0.dev20260101+cu128"),
    *("https://huggingface.co/Qwen/Qwen2.5-VL-7B-Instruct", "https://example.org:8080/v1?x=1&page=2#part", "s3://bucket/a"),
    *("ssh://git@github.com/a/b.git", "git@github.com:a/b.git", "git+https://github.com/a/b@main", "ray://head:10001"),
    *("127.0.0.1:29500", "10.0.0.12", "8.8.8.8", "me@example.org", "localhost", "tcp://10.0.0.1:23456"),
    *("<a>,<b>", "<|im_end|>", "<pad>", "bos_token=<s>", "pad_token: <pad>", "max_new_tokens=512,eos_token_id=2"),
    "betas=(0.9,0.98),eps=1e-8,weight_decay=0.1",
    "A chat between a curious user and an artificial intelligence assistant. Answer key: the option's letter.",
    "You are a careful annotator. The secret: look at every frame. Never pass over a token of the answer.",
    *("hf_checkpoints", "hf-mirror", "sk-learn-style-features", "vistadpo-demo-2026-11-28-run-3"),
    "VistaDPOVideoLlavaLora7B",
    *('{"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "none"}}}', "[1, 2]", "{broken", "[a, b]"),
    *("basic understanding", "Basic aGVsbG8", "bearer of news", "token", "key", "secret", "password", "tokens, keys"),
    *("été à Paris: 3 vidéos", "日本語", "", " ", "a\nb", "x" * 300, "every_save"),
    "every_word_of_this_long_name_is_known",
]  # fmt: skip
PLAIN_KEYS = {
    "add_tokens": "<a>,<b>",
    "add_special_tokens": "<a>",
    "new_special_tokens_config": "tokens.yaml",
    "init_special_tokens": "noise_init",
    "tokenized_path": "cache/tokens",
    "hub_model_id": "me/model",
    "hub_token": None,
    "max_new_tokens": 512,
    "split_special_tokens": False,
    "include_num_input_tokens_seen": "all",
    "dataloader_pin_memory": True,
    "fsdp_config": {"transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"], "state_dict_type": "FULL_STATE_DICT"},
    "vllm_config": {"limit_mm_per_prompt": {"video": 1}, "pad_token": "<pad>", "pad_token_id": 0},
    "lr_scheduler_kwargs": {"num_cycles": 0.5, "min_lr": 1e-6, "sort_key": "length", "monkey": "yes"},
    "ray_init_kwargs": {
        "address": "auto",
        "runtime_env": {"working_dir": ".", "pip": ["torch==2.11.0", "vistadpo-plugin[judge]>=0.1"]},
        "environment": "production",
        "tokens_per_second": 12,
        "token": True,
    },
    "ordinary": ORDINARY,
}  # fmt: skip


def written(given: dict[str, Any]) -> str:
    return resolve(given, VistaArguments()).to_yaml()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_tells(name: str) -> None:
    for given in ({name: VALUE}, {"plain": {"deeper": [{name: VALUE}]}}, {"plain": json.dumps({name: VALUE})}):
        resolved = resolve(given, VistaArguments())
        assert VALUE not in resolved.to_yaml()
        assert len(resolved.left_out) == 1 and resolved.left_out[0].endswith(name)


@pytest.mark.parametrize("form", VALUES)
def test_a_value_tells(form: str) -> None:
    given = {"ray_init_kwargs": {"plain": VALUES[form], "before": 1}, "learning_rate": 1e-5}
    resolved = resolve(given, VistaArguments())
    text = resolved.to_yaml() + str(resolved.left_out)
    assert not any(secret in text for secret in ("swordfish", "user:pw", "0123abcd", "0a1b2c3d", "abc123", "MIIEp"))
    assert not any(secret in text for secret in (LETTERS[:20], "sk-abc", "AKIA", "xoxb", "eyJz", "bWU6"))
    assert resolved.left_out, "what is left out is named"
    assert resolved.given["ray_init_kwargs"]["before"] == 1 and resolved.given["learning_rate"] == 1e-5


def test_ordinary_values_stay() -> None:
    """Each one by itself, for what a list would hide."""
    for value in ORDINARY:
        resolved = resolve({"key_of_the_host": value}, VistaArguments())
        assert resolved.given == {"key_of_the_host": value} and not resolved.left_out, value
    resolved = resolve(PLAIN_KEYS, VistaArguments())
    assert resolved.left_out == () and resolved.given == PLAIN_KEYS


@pytest.mark.parametrize("path", sorted(shipped().glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_stay_whole(path: Path) -> None:
    recipe = yaml.safe_load(path.read_text())
    resolved = resolve(recipe, VistaArguments())
    assert resolved.left_out == ()
    assert {name: resolved.given[name] for name in recipe if not name.startswith("vista_")} == {
        name: value for name, value in recipe.items() if not name.startswith("vista_")
    }


def test_of_the_hosts_keys_only_these_are_secret() -> None:
    """Every key it has, set to a word."""
    from llamafactory.hparams import parser

    classes = (*parser._TRAIN_ARGS, *parser._INFER_ARGS, *parser._EVAL_ARGS)
    names = {item.name for kind in classes for item in dataclasses.fields(kind) if not item.name.startswith("vista_")}
    assert len(names) > 300
    assert set(resolve(dict.fromkeys(sorted(names), "word"), VistaArguments()).left_out) == {
        *("hf_hub_token", "ms_hub_token", "om_hub_token", "hub_token"),
        *("swanlab_api_key", "swanlab_lark_secret", "swanlab_lark_webhook_url"),
    }


LONG = ["x" * 50_000, "a-" * 25_000, "word " * 10_000, "https://h/" + "hook/" * 2000, "a:b@" * 9999]


@pytest.mark.parametrize("text", LONG, ids=lambda text: text[:12])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    """Seconds at most; a pattern that looks again from every letter takes minutes."""
    begun = time.monotonic()
    resolve({"default_system": text}, VistaArguments())
    assert time.monotonic() - begun < 20


def test_facts_beside_the_recipe_are_held_against_it_too() -> None:
    """Under names of ours, of which one is `token`."""
    facts = {
        "rows": {"token": {"rows": 3}},
        "weights": {"token": 0.1},
        "model": "https://a:b@host",
        "data": [HF],
    }
    hidden = "(left out: it looks like a secret)"
    assert hide_secrets(facts) == {
        "rows": {"token": {"rows": 3}},
        "weights": {"token": 0.1},
        "model": hidden,
        "data": [hidden],
    }
