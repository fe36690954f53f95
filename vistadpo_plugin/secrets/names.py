"""What a setting's name says of its value: `OPENAI_KEY` and `hfToken` hold a secret, `pad_token` does not."""

from __future__ import annotations

import re
from typing import Any

# Words of a name that make it secret wherever they stand, and those that do so at its end.
_ANYWHERE = frozenset(
    "secret secrets password passwords passwd pwd passphrase passcode passwort kennwort contraseña contrasena senha "
    "credential credentials cred creds authorization bearer cookie cookies webhook webhooks dsn jwt oauth otp totp "
    "csrf xsrf mnemonic netrc connstr apikey authkey".split()
)
_AT_THE_END = frozenset("token key pat pass pw auth sig signature sas session sid pin pem".split())
_ANYWHERE_TOGETHER = (
    "connection string",
    "conn str",
    "pass word",
    "pass phrase",
    "pin code",
    "session id",
    "shared access",
)
_KINDS_OF_KEY = frozenset("access account api auth encryption private secret service signing ssh".split())
_KINDS_OF_TOKENS = frozenset("access api auth bearer hf hub refresh".split())
_RUN_TOGETHER = re.compile(
    r".(token|secret|password|passwd|passphrase|webhook|cookie|credentials?)$|(db|pg|root|user)pass$|sessionid$"
    r"|(api|access|auth|secret|private|ssh|ai)key$"
)
_AT_THE_START = re.compile(r"(TOKEN|KEY)_[A-Z]|(token|key)[A-Z]|token_value$")  # `TOKEN_HF`, `keyOpenAI`
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
_MANY = 100_000  # a number of six digits may be a token


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
    return bool(_AT_THE_START.match(name)) or any(_RUN_TOGETHER.search(word) for word in words)


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
    return not (isinstance(value, str) and is_plain(value))


def is_plain(value: str) -> bool:
    """A word of YAML, or a token of a vocabulary."""
    return bool(re.fullmatch(r"true|false|null|none|~|yes|no|<[^<>]*>", value, re.IGNORECASE))
