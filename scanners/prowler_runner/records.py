"""What the runner says: one JSON object a line on standard output, a sign of life when silent."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any, NoReturn

ALIVE_SECONDS = 2.0


class Records:
    """Owns standard output: whatever Prowler prints goes to standard error instead."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._fd = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._written = time.monotonic()
        threading.Thread(target=self._stay_alive, daemon=True, name="alive").start()

    def write(self, kind: str, **fields: Any) -> None:
        """Write one record; from any thread."""
        line = json.dumps({"kind": kind, **fields}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._send(line)

    def fail(self, code: str, message: str, *, exception: str = "") -> NoReturn:
        """Say why nothing more will come, and end at once whatever other threads do."""
        self.write("error", code=code, exception=exception, message=message[:4000])
        self.end(1)

    def end(self, code: int) -> NoReturn:
        """Leave without waiting for threads: Prowler's pools may hang on an endpoint."""
        self._lock.acquire()  # nobody is cut off in the middle of a line
        os._exit(code)

    def _send(self, line: bytes) -> None:
        view = memoryview(line)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            os._exit(2)  # nobody reads any more
        self._written = time.monotonic()

    def _stay_alive(self) -> None:
        while True:
            time.sleep(ALIVE_SECONDS / 2)
            if time.monotonic() - self._written >= ALIVE_SECONDS:
                self.write("alive")
