"""Every setting, read from `CLOUDSWEEP_*` once per process."""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from contracts.errors import CloudsweepError
from contracts.vocabulary import ScanKind

PYDANTIC: Final = "Value error, "
"""What it puts before the words of a validator."""

POSTGRESQL: Final = re.compile(r"postgres(ql)?(\+\w+)?://")
HOURS: Final = re.compile(r"\d{1,4}(\.\d{1,3})?")


class Settings(BaseSettings):
    """Frozen; tests set the environment before the first `get_settings()` or build their own.

    Temporal's address, namespace, TLS and key come from the standard `TEMPORAL_*` variables
    (`runtime/temporal.py`), not from here.
    """

    model_config = SettingsConfigDict(
        env_prefix="CLOUDSWEEP_",
        frozen=True,
        env_ignore_empty=True,  # container files set what nobody filled in to nothing
        hide_input_in_errors=True,  # a URL holds a password
    )

    data_dir: Path = Field(Path(".cloudsweep"), description="Everything the embedded stack keeps.")
    api_host: str = Field("127.0.0.1", description="Address the API listens on.")
    api_port: int = Field(8080, ge=1, le=65535, description="Port the API listens on.")
    api_url: str | None = Field(None, description="Where the CLI finds the API.")
    api_key: SecretStr | None = Field(None, description="The key the CLI sends.")
    temporal_port: int = Field(7233, ge=1, le=65535, description="Embedded Temporal, gRPC.")
    temporal_ui_port: int = Field(8233, ge=1, le=65535, description="Embedded Temporal, Web UI.")
    temporal_ui_url: str | None = Field(None, description="Web UI of an external Temporal.")
    database_url: SecretStr | None = Field(
        None, description="External PostgreSQL 18 or later: postgresql://user:password@host/name."
    )
    steampipe_url: SecretStr | None = Field(
        None, description="Steampipe service: postgresql://steampipe@host:9193/steampipe."
    )
    demo_port: int = Field(5566, ge=1, le=65535, description="Port of the demo cloud.")
    prowler_python: Path = Field(
        Path(sys.prefix) / "scanners" / "prowler" / "bin" / "python",
        description="Python of the environment that holds Prowler.",
    )
    region_batch_size: int = Field(5, ge=1, le=100, description="Regions in one shard.")
    stagger_seconds: float = Field(2.0, ge=0, le=3600, description="Between batch starts.")
    shards_in_flight: int = Field(4, ge=1, le=64, description="Shards of one account at a time.")
    compliance_slots: int | None = Field(
        None, ge=1, le=256, description="Prowler processes of one worker; one per core by default."
    )
    import_limit_bytes: int = Field(
        2_000_000_000, ge=1, description="Largest file to import, as sent and as unpacked."
    )
    archive_directory: Path | None = Field(
        None,
        description="Directory where retention keeps what it deletes, as NDJSON files.",
    )
    allow_loopback_targets: bool = Field(
        False, description="Let targets be on loopback: for tests and demos only."
    )
    stuck_scan_hours: float = Field(
        4.0, gt=0, allow_inf_nan=False, description="When a running scan counts as stuck."
    )
    stuck_scan_hours_by_kind: str = Field(
        "", description="The same for kinds of scan that differ, such as `import=1,cloud=8`."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Log level."
    )
    log_format: Literal["text", "json"] = Field("text", description="Log lines: text or json.")

    @field_validator("stuck_scan_hours_by_kind")
    @classmethod
    def _is_hours_by_kind(cls, given: str) -> str:
        _hours_by_kind(given)
        return given

    def stuck_hours(self, kind: ScanKind) -> float:
        """After how many hours a running scan of this kind counts as stuck."""
        return _hours_by_kind(self.stuck_scan_hours_by_kind).get(kind, self.stuck_scan_hours)

    @field_validator("archive_directory", mode="before")
    @classmethod
    def _is_absolute(cls, value: object) -> object:
        if isinstance(value, str | Path) and not Path(value).is_absolute():
            raise ValueError("Write it as an absolute path.")
        return value

    @field_validator("database_url", "steampipe_url")
    @classmethod
    def _is_of_postgresql(cls, given: SecretStr | None) -> SecretStr | None:
        if given and not POSTGRESQL.match(given.get_secret_value()):
            raise ValueError("Write it like postgresql://user:password@host:5432/name.")
        return given

    def require_database_url(self) -> str:
        """The URL of the store; `cloudsweep up` sets it for the processes it starts."""
        if self.database_url is None:
            raise CloudsweepError(
                "CLOUDSWEEP_DATABASE_URL is not set.",
                fix="Set it to postgresql://user:password@host/name, "
                "or let `cloudsweep up` start this process.",
            )
        return self.database_url.get_secret_value()


def _hours_by_kind(given: str) -> dict[ScanKind, float]:
    """Read `kind=hours,...`; ValueError says what is wrong with it."""
    known = {str(kind): kind for kind in ScanKind}
    hours = {}
    for part in filter(None, map(str.strip, given.split(","))):
        kind, _, number = part.partition("=")
        if kind not in known or not HOURS.fullmatch(number) or not float(number):
            raise ValueError(f"`{part}` is not a kind ({', '.join(known)}), `=` and hours above 0")
        hours[known[kind]] = float(number)
    return hours


@lru_cache
def get_settings() -> Settings:
    """Read the environment once, on first use, so that tests can set it first.

    Raises a CloudsweepError that names what is wrong, without its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"CLOUDSWEEP_{str(each['loc'][0]).upper()}: {each['msg'].removeprefix(PYDANTIC)}"
            for each in error.errors(include_input=False)
        )
        raise CloudsweepError(f"{wrong.rstrip('.')}.", fix="Correct it, or unset it.") from None
