"""Settings: what is refused, and what another process reads back from our environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from contracts.errors import CloudsweepError
from contracts.vocabulary import ScanKind
from runtime.embedded.stack import as_environment
from runtime.settings import Settings


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
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert caught.value.errors()[0]["loc"] == (variable.removeprefix("CLOUDSWEEP_").lower(),)


def test_an_archive_that_nobody_named_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSWEEP_ARCHIVE_DIRECTORY", "")
    assert Settings().archive_directory is None


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
