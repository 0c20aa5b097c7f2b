"""What README and docs show can be typed: commands, options, modules, settings and links exist."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from cli import app
from runtime.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
NOT_OURS = {"CLOUDSWEEP_PASSWORD"}  # of the database's container alone
COMMAND: Any = typer.main.get_command(app)

pytestmark = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def lines(page: Path) -> list[str]:
    """Every line of a block, and every piece of code within a sentence."""
    text = page.read_text()
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line.strip() for block in blocks for line in block.splitlines()] + inline


def wrong_with(words: list[str]) -> str | None:
    """What `cloudsweep WORDS` would not know."""
    command, rest = COMMAND, list(words)
    while rest and (commands := getattr(command, "commands", None)):
        if rest[0] not in commands:
            return rest[0]
        command = commands[rest.pop(0)]
    options = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *getattr(parameter, "secondary_opts", ()))
    }
    given = (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word))
    return next((name for name in given if name not in options | {"--help"}), None)


def test_every_command_shown_exists_with_its_options(page: Path) -> None:
    for line in lines(page):
        if not line.startswith("cloudsweep "):
            continue
        words = shlex.split(line.replace("…", "x"), comments=True)[1:]
        assert wrong_with(words) is None, line


def test_every_module_and_target_shown_exists(page: Path) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in lines(page):
        for module in re.findall(r"python -m ([a-z_.]+)", line):
            assert find_spec(module), line
        if made := re.match(r"make ([a-z]+)", line):
            assert made[1] in targets, line


def test_every_setting_named_exists(page: Path) -> None:
    known = {f"CLOUDSWEEP_{name.upper()}" for name in Settings.model_fields} | NOT_OURS
    assert set(re.findall(r"CLOUDSWEEP_[A-Z_]+", page.read_text())) <= known


def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        there = page.parent / path if path else page
        assert there.exists(), link
        headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE) if anchor else []
        slugs = [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings]
        assert not anchor or anchor in slugs, link
