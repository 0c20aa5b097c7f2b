"""Log lines: one line a record, secrets taken out, as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

from runtime.redaction import redact
from runtime.settings import Settings

_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO  worker: message`, on one line whatever the message holds."""

    def format(self, record: logging.LogRecord) -> str:
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {_text(self, record)}"
        return line.replace("\r", "").replace("\n", "\\n ")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        extra = {
            # With its name, which may be what tells that it is a secret.
            name: redact(f"{name}={value}").partition("=")[2]
            for name, value in vars(record).items()
            if name not in _OWN_FIELDS and not name.startswith("_")
        }
        return json.dumps(
            {
                "time": _time(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": _text(self, record),
                **extra,
            },
            ensure_ascii=False,
        )


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + formatter.formatException(record.exc_info)
    if record.stack_info:
        text += "\n" + record.stack_info
    return redact(text)


def configure_logging(settings: Settings, *, stream: TextIO | None = None) -> None:
    """Send every record of this process to stderr, replacing what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    # Libraries that log every request or statement at info; ours say what matters.
    for name in ("httpx", "httpcore", "botocore", "urllib3", "uvicorn.access", "alembic"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
