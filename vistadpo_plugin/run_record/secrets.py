"""What looks like a secret, by the name of a setting and by the text of its value.

Values in formats that providers document are left to detect-secrets. Names, addresses, assignments inside of texts and
random letters are judged here, where a recipe's ordinary values are known: a digest, a path and a model's name stay.
"""

from __future__ import annotations

import base64
import binascii
import functools
import re
from typing import Any
from urllib.parse import unquote

# Words of a name that make it secret wherever they stand, and those that do so at its end.
_ANYWHERE = frozenset(
    "secret secrets password passwords passwd pwd passphrase passcode passwort kennwort contraseña contrasena senha "
    "credential credentials cred creds authorization bearer cookie cookies webhook webhooks dsn jwt oauth otp totp "
    "csrf xsrf mnemonic netrc connstr apikey authkey".split()
)
_AT_THE_END = frozenset("token key pat pass pw auth sig signature sas session sid pin pem".split())
_ANYWHERE_TOGETHER = ("connection string", "conn str", "pin code", "session id", "shared access")
_KINDS_OF_KEY = frozenset("access account api auth encryption private secret service signing ssh".split())
_KINDS_OF_TOKENS = frozenset("access api auth bearer hf hub refresh".split())
_RUN_TOGETHER = re.compile(
    r".(token|secret|password|passwd|passphrase|webhook|cookie|credentials?)$|(db|pg|root|user)pass$|sessionid$"
    r"|(api|access|auth|secret|private|ssh|ai)key$"
)
# What makes the word behind it an ordinary one: the tokens of a vocabulary, the keys of a table.
_ORDINARY = {
    "token": frozenset(
        "audio boi bos bov cls end eoi eos eot first frame image last mask media next pad per sep special start stop "
        "unk video vision".split()
    ),
    "key": frozenset(
        "cache column data dataset dict field foreign group image input json label map metric order output partition "
        "primary public row sort target text video".split()
    ),
    "pass": frozenset(("backward", "forward", "per")),
}
_ENVIRONMENT = re.compile(r"(^|_)(env|envs|environ|environments?|(env|environment)_?(vars?|variables?))$")
_HEADERS = re.compile(r"(^|_)headers?$")

_WORD = re.compile(r"[A-Z]+(?![a-zñ])|[A-Z]?[a-zñ]+")
# `api_key=..`, `"token": ".."`, `--password ..`, `?sig=..`; the value is not consumed, it may be an assignment itself.
_ASSIGNED = re.compile(
    r"""(?P<name>[\w.-]+)["']?\]?\s*(?P<sign>:=|=>|=|:(?!//))\s*["']?(?=(?P<value>[^\s,;&"'}\])]+))"""
)
_OPTION = re.compile(r"(?P<name>--?[A-Za-z][\w-]*)\s+(?=(?P<value>[^\s-]\S*))")
_ASSIGNMENT_WORDS = 4  # a line with no more words is `name: value`, not prose
_LONG = 16
_MANY = 100_000  # a number of six digits may be a token

_ADDRESS = re.compile(r"\b(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<who>[^/\s?#@]*)@", re.IGNORECASE)
_USER_ONLY = ("git", "git+ssh", "rsync", "sftp", "ssh", "svn+ssh")  # schemes whose user is no secret
_SHAPES = re.compile(
    r"\b[\w.-]+:[^\s@/:]+@(localhost\b|[\w-]+\.[\w.-]+|[\w.-]+:\d+\b)"  # user:password@host
    r"|https?://\S*hooks?\b\S*/[\w-]{8}"  # who knows the address may post
    r"|\b\d{8,10}:[\w-]{35}\b"  # Telegram, inside of an address
    r"|\b(hf|api_org|gsk|npm|r8|xai|github_pat|dckr_pat|wandb_v1)_[A-Za-z0-9_]{16}"
    r"|\b(nvapi|pplx|tvly|glpat|pypi)-[\w-]{16}"
    r"|\bsk-(?=[\w-]*\d)[\w-]{16}|\bAIza[\w-]{30}|\bya29\.[\w-]{16}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}"  # JSON Web Token
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\bBearer\s+(?=\S*\d)[\w.~+/=-]{8}"
)
_BASIC = re.compile(r"\bBasic\s+([A-Za-z0-9+/]{6,}={0,2})")
_RANDOM = re.compile(r"(?=[^\d]*\d)(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9+=]{22,}")
_RANDOM_BITS = 4.2  # a character; words and digests lie below


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret: `OPENAI_KEY`, `hfToken`, `x-api-key`; not `pad_token`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    pairs = list(zip(words, words[1:], strict=False))
    if not _ANYWHERE.isdisjoint(words) or any(" ".join(pair) in _ANYWHERE_TOGETHER for pair in pairs):
        return True
    if any(kind in _KINDS_OF_KEY and word in ("key", "keys") for kind, word in pairs):
        return True
    if any(kind in _KINDS_OF_TOKENS and word == "tokens" for kind, word in pairs[-1:]):
        return True
    before, last = (words[-2] if pairs else ""), words[-1]
    if last in _AT_THE_END:
        return before not in _ORDINARY.get(last, ())
    return any(_RUN_TOGETHER.search(word) for word in words)


def is_closed_block(name: str, value: Any) -> bool:
    """Whether `value` is a block that is left out whole: environment variables, or the headers of a request.

    A single word is none (`environment: production`), nor is Ray's `runtime_env`, which holds more than variables.
    """
    snake = "_".join(word.lower() for word in _WORD.findall(name))
    if snake == "runtime_env" and isinstance(value, dict):
        return False
    if not (_ENVIRONMENT.search(snake) or _HEADERS.search(snake)):
        return False
    return isinstance(value, dict | list | tuple | set) or bool(re.search(r"[=:{\n]", str(value)))


def is_secret_value(name: str, value: Any) -> bool:
    """Whether what is set under a secret name may be one: no yes or no, no placeholder, and hardly a number."""
    if value is None or isinstance(value, bool) or value == "":
        return False
    if isinstance(value, int | float):
        return value >= _MANY or not _ANYWHERE.isdisjoint(word.lower() for word in _WORD.findall(name))
    return not (isinstance(value, str) and _is_plain(value))


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
        if not is_secret_name(name) or _is_plain(value) or (value.isdecimal() and not is_secret_value(name, 0)):
            continue
        # A colon is also a mark of prose: "The secret: look at every frame."
        alone = not line[: found.start()].strip(" -\"'{[") and len(line.split()) <= _ASSIGNMENT_WORDS
        if found["sign"] != ":" or alone or len(value) >= _LONG or any(map(str.isdigit, value)):
            return True
    return any(is_secret_name(found["name"]) and not _is_plain(found["value"]) for found in _OPTION.finditer(line))


def _is_plain(value: str) -> bool:
    """A word of YAML, or a token of a vocabulary."""
    return bool(re.fullmatch(r"true|false|null|none|~|yes|no|<[^<>]*>", value, re.IGNORECASE))


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
