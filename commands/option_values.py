"""What options hold besides plain words: lists, pairs, and what to say of a wrong one."""

from __future__ import annotations

from commands.client import WRONG_USAGE, Failure


def list_of(text: str | None) -> list[str] | None:
    """What stands between commas; None for an option that was not given."""
    return None if text is None else [part.strip() for part in text.split(",")]


def tools_of(text: str) -> list[str]:
    """The tools that an option names; none of them for `none`."""
    return [] if text.strip() == "none" else list_of(text) or []


def pairs_of(pairs: list[str] | None, option: str) -> dict[str, str]:
    """`key=value` pairs as a dict."""
    found = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise wrong(f"{option}: `{pair}` is not of the form KEY=VALUE.")
        found[name] = value
    return found


def wrong(message: str, fix: str = "See --help.") -> Failure:
    """Wrong usage, in words."""
    return Failure(message, fix=fix, code=WRONG_USAGE)
