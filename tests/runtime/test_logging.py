"""Log lines: one line a record, no secrets, text or JSON."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from runtime.logging import configure_logging
from runtime.settings import Settings


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(settings: Settings) -> list[str]:
    stream = io.StringIO()
    configure_logging(settings, stream=stream)
    log = logging.getLogger("worker")
    log.debug("too quiet")
    log.info("first\nsecond", extra={"scan_id": "0197", "password": "hunter2"})
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        log.exception("it broke")
    return stream.getvalue().split("\n")[:-1]


def test_a_record_is_one_line_of_text_without_secrets() -> None:
    first, broken = logged(Settings())
    assert first.endswith(r"INFO    worker: first\n second")
    assert "Traceback" in broken
    assert "password=[redacted]" in broken


def test_a_record_is_one_json_object_with_its_extra_fields() -> None:
    first, broken = (json.loads(line) for line in logged(Settings(log_format="json")))
    assert first["message"] == "first\nsecond"
    assert first["level"] == "info"
    assert first["logger"] == "worker"
    assert first["time"].endswith("Z")
    assert first["scan_id"] == "0197"
    assert first["password"] == "[redacted]"
    assert "hunter2" not in json.dumps(broken)


def test_the_level_is_the_settings() -> None:
    assert len(logged(Settings(log_level="error"))) == 1
    assert len(logged(Settings(log_level="debug"))) == 3
