"""What looks like a secret inside of a text, whatever it is set under.

Values in formats that providers document are left to detect-secrets. Addresses, assignments and random letters are
judged here, where a recipe's ordinary values are known: a digest, a path and a model's name stay.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from typing import Any
from urllib.parse import unquote

from vistadpo_plugin.secrets.names import is_plain, is_secret_name, is_secret_value

# `api_key=..`, `"token": ".."`, `--password ..`, `?sig=..`; the value is not consumed, it may be an assignment itself.
_ASSIGNED = re.compile(
    r"""(?<![\w.-])(?P<name>[\w.-]++)["']?\]?\s*+(?P<sign>:=|=>|=|:(?!//))\s*["']?(?=(?P<value>[^\s,;&"'}\])]+))"""
)
_OPTION = re.compile(r"(?<![\w-])(?P<name>--?[A-Za-z][\w-]*+)\s+(?=(?P<value>[^\s-]\S*))")
_ASSIGNMENT_WORDS = 4  # a line with no more words is `name: value`, not prose
_LONG = 16

_ADDRESS = re.compile(r"(?<![a-z0-9+.-])(?P<scheme>[a-z][a-z0-9+.-]*+)://(?P<who>[^/\s?#@]*)@", re.IGNORECASE)
_USER_ONLY = ("git", "git+ssh", "rsync", "sftp", "ssh", "svn+ssh")  # schemes whose user is no secret
_SHAPES = re.compile(
    r"(?<![\w.-])[\w.-]++:[^\s@/:]+@(localhost\b|[\w-]+\.[\w.-]+|[\w.-]+:\d+\b)"  # user:password@host
    r"|https?://\S*hooks?\b\S*/[\w-]{8}"  # who knows the address may post
    r"|\b\d{8,10}:[\w-]{35}\b"  # Telegram, inside of an address
    r"|\b(hf|api_org|gsk|npm|r8|xai|github_pat|dckr_pat|wandb_v1)_[A-Za-z0-9_]{16}"
    r"|\b(nvapi|pplx|tvly|glpat|pypi)-[\w-]{16}"
    r"|\bsk-([A-Za-z0-9]{20}|(?=[\w-]*\d)[\w-]{16})|\bAIza[\w-]{30}|\bya29\.[\w-]{16}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}"  # JSON Web Token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(Bearer|Token|ApiKey)\s+(?=\S*\d)[\w.~+/=-]{8}"
)
_BASIC = re.compile(r"\bBasic\s+([A-Za-z0-9+/]{6,}={0,2})")
_RANDOM = re.compile(r"(?=[^\d]*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9+=]{22,}")
_RANDOM_BITS = 4.2  # a character; words and digests lie below


def holds_secret(text: str) -> bool:
    """Whether a text holds a secret anywhere."""
    if _SHAPES.search(text) or any(map(_names_one, text.splitlines())):
        return True
    for found in _ADDRESS.finditer(text):
        if ":" in found["who"] or found["scheme"].lower() not in _USER_ONLY:
            return True
    if any(_is_credentials(found[1]) for found in _BASIC.finditer(text)):
        return True
    if any(_is_random(part) for part in re.split(r"[^A-Za-z0-9+=]", text)):
        return True
    if any(next(iter(detector.analyze_string(text)), None) is not None for detector in _detectors()):
        return True
    plain = unquote(text)
    return plain != text and holds_secret(plain)


def _names_one(line: str) -> bool:
    """Whether the line sets something that is secret by its name."""
    for found in _ASSIGNED.finditer(line):
        name, value = found["name"], found["value"]
        if not is_secret_name(name) or is_plain(value) or (value.isdecimal() and not is_secret_value(name, 0)):
            continue
        # A colon is also a mark of prose: "The secret: look at every frame."
        alone = not line[: found.start()].strip(" -\"'{[") and len(line.split()) <= _ASSIGNMENT_WORDS
        if found["sign"] != ":" or alone or len(value) >= _LONG or any(map(str.isdigit, value)):
            return True
    return any(is_secret_name(found["name"]) and not is_plain(found["value"]) for found in _OPTION.finditer(line))


def _is_credentials(text: str) -> bool:
    """Whether it is base64 of user:password."""
    try:
        return b":" in base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False


def _is_random(part: str) -> bool:
    return bool(_RANDOM.fullmatch(part)) and _entropy().calculate_shannon_entropy(part) > _RANDOM_BITS


@functools.cache
def _entropy() -> Any:
    from detect_secrets.plugins.high_entropy_strings import Base64HighEntropyString

    return Base64HighEntropyString()


@functools.cache
def _detectors() -> tuple[Any, ...]:
    """detect-secrets' detectors of documented formats, and of keywords in code.

    Not those of public addresses, which recipes hold, and of entropy alone, which takes digests for secrets.
    """
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.ip_public import IPPublicDetector

    kinds = get_mapping_from_secret_type_to_class().values()
    return tuple(kind() for kind in kinds if not issubclass(kind, HighEntropyStringsPlugin | IPPublicDetector))
