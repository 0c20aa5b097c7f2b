"""The command itself: help, settings, where the server is, and how failures look."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import app as command
from commands.client import Api, Failure, connected
from commands.output import table
from runtime.settings import Settings, get_settings
from runtime.version import VERSION
from tests.cli.conftest import Command, run
from tests.support.ports import free_ports

GROUPS = ["account", "scan", "schedule", "job", "run", "item", "finding", "resource", "check",
          "key", "scanners", "target", "scope", "policy", "asset", "cascade"]  # fmt: skip
PROMISED = {
    "account": {"add", "list", "check"},
    "scan": {"start", "native", "hybrid", "list", "show", "cancel", "pause", "resume", "watch",
             "tasks"},
    "schedule": {"add", "list", "show", "preview", "change", "pause", "resume", "trigger",
                 "backfill", "runs", "remove"},
    "job": {"list", "show", "run", "runs"},
    "run": {"list", "show", "cancel"},
    "item": {"add", "list", "show", "renew", "remove"},
    "finding": {"list", "show", "summary"},
    "resource": {"list", "show"},
    "check": {"list", "show"},
    "key": {"create", "list", "revoke"},
    "scanners": {"list", "install"},
    "target": {"add", "list", "show", "check", "enable", "disable", "remove"},
    "scope": {"add", "list", "show", "change", "end", "remove"},
    "asset": {"list", "show", "summary"},
    "policy": {"list", "show", "set", "remove"},
    "cascade": {"add", "list", "show", "enable", "disable", "remove", "preview"},
}  # fmt: skip


def test_help_names_every_promised_command() -> None:
    runner = CliRunner()
    top = runner.invoke(command, ["--help"])
    assert top.exit_code == 0
    for word in ("up", "demo", "settings", *GROUPS):
        assert f"  {word} " in top.output
    for group, commands in PROMISED.items():
        shown = runner.invoke(command, [group, "--help"])
        for word in commands:
            assert f"  {word} " in shown.output, (group, word)
            of_command = runner.invoke(command, [group, word, "--help"])
            assert of_command.exit_code == 0
            assert len(of_command.output.splitlines()) > 5


async def test_the_version_is_shown() -> None:
    shown = await run("--version")
    assert (shown.code, shown.out) == (0, f"cloudsweep {VERSION}\n")


def test_the_version_is_written_in_two_places_alike() -> None:
    assert f'version = "{VERSION}"' in Path("pyproject.toml").read_text()


@pytest.mark.parametrize(
    "line",
    [["nothing"], ["scan", "strat"], ["scan", "start"], ["key", "create", "x", "--role", "root"],
     ["finding", "list", "--limit", "0"], ["account", "add", "x", "--provider", "awz"]],
)  # fmt: skip
async def test_wrong_usage_ends_with_2(line: list[str]) -> None:
    ran = await run(*line)
    assert ran.code == 2
    assert "Error" in ran.err
    assert "Traceback" not in ran.err


async def test_settings_lists_every_setting_and_hides_secrets() -> None:
    secret = "postgresql://user:hunter2@host/name"
    ran = await run("settings", CLOUDSWEEP_DATABASE_URL=secret, CLOUDSWEEP_API_PORT="9000")
    assert ran.code == 0
    assert "hunter2" not in ran.out
    for name, field in Settings.model_fields.items():
        assert f"CLOUDSWEEP_{name.upper()} = " in ran.out
        assert (field.description or "").split(".")[0] in ran.out
    rows = {
        row["name"]: row
        for row in (await run("settings", "--json", CLOUDSWEEP_API_PORT="9000")).json["items"]
    }
    assert rows["CLOUDSWEEP_API_PORT"] == {
        "name": "CLOUDSWEEP_API_PORT",
        "value": "9000",
        "default": "8080",
        "is_set": True,
        "description": Settings.model_fields["api_port"].description,
    }


async def test_a_setting_that_does_not_parse_is_named() -> None:
    ran = await run("account", "list", CLOUDSWEEP_API_PORT="many")
    assert ran.code == 2
    assert "CLOUDSWEEP_API_PORT" in ran.err
    assert "Traceback" not in ran.err


async def test_the_server_is_found_by_the_data_directory(data_dir: Path) -> None:
    ran = await run("account", "list", "--json", CLOUDSWEEP_DATA_DIR=str(data_dir))
    assert (ran.code, ran.json) == (0, {"items": [], "next_cursor": None})


async def test_the_environment_goes_before_the_data_directory(data_dir: Path, served: str) -> None:
    ran = await run(
        "account", "list", CLOUDSWEEP_DATA_DIR=str(data_dir), CLOUDSWEEP_API_KEY="csk_wrong"
    )
    assert ran.code == 2
    assert "unknown or revoked" in ran.err


async def test_without_a_stack_it_says_how_to_start_one(tmp_path: Path) -> None:
    ran = await run("scan", "list", CLOUDSWEEP_DATA_DIR=str(tmp_path / "nothing"))
    assert ran.code == 3
    assert "cloudsweep up" in ran.err


async def test_a_server_that_does_not_answer_ends_with_3(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    ran = await run("scan", "list", CLOUDSWEEP_API_URL=url, CLOUDSWEEP_API_KEY="csk_x")
    assert ran.code == 3
    assert url in ran.err
    assert "Fix:" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("name", "value"),
    [("KEY", "schlüssel"), ("KEY", "a\nb"), ("URL", "127.0.0.1:8080"),
     ("URL", "http://[::1")],
)  # fmt: skip
def test_an_address_or_key_that_cannot_be_is_named_and_never_sent(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("CLOUDSWEEP_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("CLOUDSWEEP_API_KEY", "csk_x")
    monkeypatch.setenv(f"CLOUDSWEEP_API_{name}", value)
    get_settings.cache_clear()
    with pytest.raises(Failure) as refused, connected():
        pass
    get_settings.cache_clear()
    assert refused.value.code == 2
    assert f"CLOUDSWEEP_API_{name}" in refused.value.message
    assert refused.value.fix


def test_the_address_that_the_stack_shows_may_be_given_as_the_servers() -> None:
    assert Api("http://127.0.0.1:8080/api/v1/", "csk_x").url == "http://127.0.0.1:8080"


async def test_wrong_usage_is_two_lines_without_a_librarys_words() -> None:
    ran = await run("scan", "list", "--status", "x", "--json")
    problem = json.loads(ran.err)
    assert problem["detail"].startswith("Invalid value for '--status': 'x' is not one of")
    assert problem["fix"] == "`cloudsweep scan list --help` shows how."
    assert (ran.code, ran.out) == (2, "")


def test_an_output_that_nobody_reads_to_its_end_is_no_failure() -> None:
    line = f"set -o pipefail; {sys.executable} -m cli settings | head -c 1"
    shell = subprocess.run(["bash", "-c", line], capture_output=True, timeout=60)
    assert (shell.returncode, shell.stderr) == (0, b"")


def test_a_narrow_table_shortens_everything_but_its_ids() -> None:
    rows = table("ID", "*NAME", "STATE", "WHEN", "LAST")
    rows.add_row("f0b091b8", "expiry_sweep", "completed", "every 15 minutes", "completed")
    shown = Console(width=32, file=StringIO(), markup=False)
    shown.print(rows)
    assert isinstance(shown.file, StringIO)
    assert shown.file.getvalue().splitlines()[1].startswith("f0b091b8  ")


async def test_a_problem_is_shown_field_by_field(cloudsweep: Command) -> None:
    ran = await cloudsweep("account add x --role-arn nonsense --regions EU")
    assert ran.code == 2
    assert "credentials.role_arn: `nonsense`" in ran.err
    assert "regions[0]" in ran.err
    as_json = await cloudsweep("account add x --role-arn nonsense --json")
    problem = json.loads(as_json.err)
    assert problem["errors"][0]["field"] == "credentials.role_arn"
    assert as_json.out == ""


async def test_what_is_not_cloudsweep_is_told_apart(served: str) -> None:
    ran = await run(
        "account", "list", CLOUDSWEEP_API_URL=f"{served}/docs/assets", CLOUDSWEEP_API_KEY="x"
    )
    assert ran.code in (2, 3)
    assert "Traceback" not in ran.err


async def test_the_scanners_of_this_machine_are_listed_without_a_server() -> None:
    shown = await run("scanners", "list")
    assert shown.code == 0
    assert "kube_bench" in shown.out
    assert "AGPL-3.0" in shown.out
    refused = await run("scanners", "install", "nmap")
    assert refused.code == 2
    assert "sslyze and checkov are" in refused.err


def test_a_command_starts_without_pydantic() -> None:
    """Which takes longer to load than everything else that a command needs."""
    loaded = "import sys, cli; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0
