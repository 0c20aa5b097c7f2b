"""Taking secrets out of text that people or logs will see."""

from __future__ import annotations

import re
from typing import Final

from contracts.errors import MESSAGE_LIMIT

HIDDEN: Final = "[redacted]"

_FIELD = (
    # An ARN of a secret is a name, and an error code such as ExpiredToken is no field.
    r"(?<![\w-])(?<!:\d{12}:)(?!secretsmanager|(?:invalid|expired|missing|unrecognized|no)[a-z])"
    r"(?:[\w-]*(?:secret|passwd|password|token|signature|api[_-]?key|private[_-]?key|access[_-]?key)"
    r"[\w-]{0,40})"
)
_VALUE = (
    r"(?:\\\"(?:(?!\\\").)*"  # \"quoted inside a string\"
    r"|\"(?:[^\"\\]|\\.)*"  # "quoted"
    r"|'[^']*"  # 'quoted'
    r"|[^\s,;&\"'}\])\\]+)"  # bare
)

_RULES: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # Whole blocks first, so that no later rule cuts one in half; a block cut off at its end too.
    (
        re.compile(
            r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"
            r".*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)",
            re.S,
        ),
        HIDDEN,
    ),
    # Our own API keys.
    (re.compile(r"\bcsk_[A-Za-z0-9_-]{4,}"), f"csk_{HIDDEN}"),
    # AWS access key ids (AKIA, ASIA and the other documented prefixes).
    (re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,124}\b"), HIDDEN),
    (
        re.compile(r"(?i)(\bauthorization\\?[\"']?\s*[:=]\s*)(?:\\?[\"'])?(?:\w+ )?[^\s,\"'\\]+"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(?i)\b(bearer)\s+(?=\S*\d)[\w.~+/=-]{8,}"), rf"\1 {HIDDEN}"),
    # JSON web tokens wherever they stand.
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), HIDDEN),
    # A password inside a URL: scheme://user:password@host.
    (
        re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,200}):[^\s/]{1,500}@"),
        rf"\1:{HIDDEN}@",
    ),
    # key=value and "key": "value" of names that hold secrets, signed URLs included.
    (
        re.compile(rf"(?i)({_FIELD}(?:\\?[\"'])?\s*[:=]\s*){_VALUE}"),
        rf"\1{HIDDEN}",
    ),
    # What is left of AWS secret keys: 40 characters of base64 that mix both cases and digits.
    (
        re.compile(
            r"(?<![\w/+=.-])(?=[A-Za-z0-9/+]{0,39}[a-z])(?=[A-Za-z0-9/+]{0,39}[A-Z])"
            r"(?=[A-Za-z0-9/+]{0,39}[0-9])[A-Za-z0-9/+]{40}(?![\w/+=.-])"
        ),
        HIDDEN,
    ),
)


def redact(text: str, *, limit: int = MESSAGE_LIMIT) -> str:
    """The text without secrets, at most `limit` characters; a cut is marked.

    Catches AWS keys, bearer tokens, passwords in URLs, private keys, our own API keys and values
    of fields named like a secret. It may hide too much, never raises, and leaves ids alone.
    """
    # Read a little past the limit, so that a secret that the cut would split is still recognised.
    text = text[: limit + 4_000]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    if len(text) <= limit:
        return text
    note = "… [cut]"
    return text[: max(0, limit - len(note))] + note
