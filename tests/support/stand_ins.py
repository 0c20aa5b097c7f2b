"""Small stand-ins for the product's own processes, so that the stack's tests need none of them.

Run as a script: `stand_ins.py bootstrap | api | worker | stubborn | up`. Each worker notes what
happens to it in `<data dir>/events`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING
from urllib.request import urlopen

from runtime.settings import get_settings

if TYPE_CHECKING:
    from runtime.embedded.stack import Program


def command(role: str) -> tuple[str, ...]:
    """The command of one stand-in."""
    return (sys.executable, __file__, role)


def program(name: str = "product") -> Program:
    """The commands that a stack runs; every name but `product` misbehaves in its own way."""
    from runtime.embedded.stack import Program  # the light roles need none of it

    product = Program(
        bootstrap=command("bootstrap"), api=command("api"), workers=[("worker", command("worker"))]
    )
    changes: dict[str, Program] = {
        "product": product,
        "stubborn": replace(product, workers=[("worker", command("stubborn"))]),
        "broken": replace(
            product, workers=[("worker", ("sh", "-c", "echo the worker has a bug; exit 7"))]
        ),
        "unmigratable": replace(
            product, bootstrap=("sh", "-c", "echo revision 42 does not apply; exit 1")
        ),
    }
    return changes[name]


def _note(event: str) -> None:
    with (get_settings().data_dir / "events").open("a") as file:
        file.write(f"{event}\n")


def bootstrap() -> None:
    """Make the admin key once."""
    path = get_settings().data_dir / "admin.key"
    if not path.exists():
        path.write_text("csk_standin\n")
    assert os.environ["CLOUDSWEEP_DATABASE_URL"].startswith("postgresql://")


class _Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Healthy."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def api() -> None:
    """Answer every GET with 200."""
    settings = get_settings()
    HTTPServer((settings.api_host, settings.api_port), _Health).serve_forever()


def worker() -> None:
    """Wait for SIGTERM, then show that API and database still answer, and end."""
    import asyncpg

    def drain(*_: object) -> None:
        settings = get_settings()
        with urlopen(f"http://127.0.0.1:{settings.api_port}/healthz") as answer:
            assert answer.status == 200

        async def look() -> None:
            connection = await asyncpg.connect(settings.require_database_url())
            await connection.close()

        asyncio.run(look())
        _note("drained")
        sys.exit(0)

    signal.signal(signal.SIGTERM, drain)
    _note("started")
    while True:
        time.sleep(0.1)


def stubborn() -> None:
    """Start a scanner in a session of its own, and let no signal end either."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    scanner = subprocess.Popen(["sleep", "600"], start_new_session=True)
    _note(f"scanner {scanner.pid}")
    while True:
        time.sleep(0.1)


def up() -> None:
    """The supervisor of one of the programs above."""
    from runtime.embedded.stack import run_stack

    sys.exit(run_stack(get_settings(), program=program(sys.argv[2])))


if __name__ == "__main__":
    {each.__name__: each for each in (bootstrap, api, worker, stubborn, up)}[sys.argv[1]]()
