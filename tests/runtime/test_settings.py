"""Settings: what is refused, and what another process reads back from our environment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.errors import CloudsweepError
from contracts.vocabulary import ScanKind
from runtime.embedded.stack import as_environment
from runtime.settings import Settings, get_settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLOUDSWEEP_API_PORT", "99999"),
        ("CLOUDSWEEP_TEMPORAL_PORT", "seven"),
        ("CLOUDSWEEP_STAGGER_SECONDS", "-1"),
        ("CLOUDSWEEP_REGION_BATCH_SIZE", "0"),
        ("CLOUDSWEEP_LOG_LEVEL", "loud"),
        ("CLOUDSWEEP_LOG_FORMAT", "xml"),
        ("CLOUDSWEEP_STUCK_SCAN_HOURS", "inf"),
        ("CLOUDSWEEP_STUCK_SCAN_HOURS_BY_KIND", "walk=3"),
        ("CLOUDSWEEP_STUCK_SCAN_HOURS_BY_KIND", "import=0"),
        ("CLOUDSWEEP_STUCK_SCAN_HOURS_BY_KIND", "cloud=8,import"),
        ("CLOUDSWEEP_ARCHIVE_DIRECTORY", "archive"),
        ("CLOUDSWEEP_DATABASE_URL", "mysql://scan:hunter2@db/name"),
        ("CLOUDSWEEP_STEAMPIPE_URL", "hunter2@host"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == (variable.removeprefix("CLOUDSWEEP_").lower(),)
    get_settings.cache_clear()
    with pytest.raises(CloudsweepError) as said:
        get_settings()
    assert said.value.message.startswith(f"{variable}: ")
    assert "Value error" not in said.value.message
    assert "hunter2" not in f"{caught.value} {said.value}"


def test_what_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"CLOUDSWEEP_{name.upper()}", "")
    given = Settings()
    for name, field in Settings.model_fields.items():
        assert getattr(given, name) == field.default


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scans",), "CLOUDSWEEP_API_PORT: Input should be a valid integer"),
        (("scans", "--slots", "0"), "--slots must be at least 1"),
    ],
)
def test_a_worker_that_cannot_begin_says_why_in_a_line(
    arguments: tuple[str, ...], words: str
) -> None:
    worker = Path(__file__).parents[2] / "worker.py"
    ended = subprocess.run(
        [sys.executable, str(worker), *arguments],
        env={**os.environ, "CLOUDSWEEP_API_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_process_without_a_database_says_what_to_set() -> None:
    with pytest.raises(CloudsweepError, match="CLOUDSWEEP_DATABASE_URL is not set"):
        Settings().require_database_url()


def test_another_process_reads_the_same_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "api_port": 7401,
            "database_url": "postgresql://scan:hunter2@db/cloudsweep",
            "steampipe_url": "postgresql://steampipe@host:9193/steampipe",
            "stagger_seconds": 0.5,
            "compliance_slots": 3,
            "stuck_scan_hours_by_kind": "cloud=8, import=0.5",
            "archive_directory": tmp_path / "archive",
        }
    )
    for name, value in as_environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given


def test_how_long_a_scan_may_run_is_said_for_all_kinds_or_for_one() -> None:
    given = Settings(stuck_scan_hours=6, stuck_scan_hours_by_kind="import=0.5")
    assert given.stuck_hours(ScanKind.IMPORT) == 0.5
    assert given.stuck_hours(ScanKind.CLOUD) == 6
    assert {Settings().stuck_hours(kind) for kind in ScanKind} == {4}


def test_the_key_of_the_cli_is_not_handed_on() -> None:
    given = Settings.model_validate({"api_key": "csk_mine"})
    assert "csk_mine" not in str(as_environment(given))
