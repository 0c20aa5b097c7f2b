"""How the tools' own words for how bad a thing is become ours."""

from __future__ import annotations

import re
from typing import Final

from contracts.vocabulary import Severity

_WORDS: Final = {
    "critical": Severity.CRITICAL,
    "high": Severity.HIGH,
    "medium": Severity.MEDIUM,
    "moderate": Severity.MEDIUM,
    "low": Severity.LOW,
    "info": Severity.INFORMATIONAL,
    "informational": Severity.INFORMATIONAL,
    "unknown": Severity.INFORMATIONAL,
}
_SCORE: Final = re.compile(r"\d{1,2}(?:\.\d{1,3})?")


def of_word(word: object, default: Severity) -> Severity:
    """A severity in the field's words; the default for none and for words that nobody knows."""
    return _WORDS.get(word.lower(), default) if isinstance(word, str) else default


def of_cvss(score: object) -> Severity | None:
    """The severity of a CVSS score from 0 to 10; None for what is none."""
    if isinstance(score, str):
        if not (found := _SCORE.search(score[:40])):
            return None
        score = float(found[0])
    if not isinstance(score, (int, float)) or not 0 <= score <= 10:
        return None
    if score >= 9:
        return Severity.CRITICAL
    if score >= 7:
        return Severity.HIGH
    if score >= 4:
        return Severity.MEDIUM
    return Severity.LOW if score > 0 else Severity.INFORMATIONAL
