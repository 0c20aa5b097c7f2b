"""The demo cloud: two AWS accounts that look real, on an endpoint of this machine.

`python -m demo.serve --port 5000` seeds them, says `ready <url>`, and serves until it is stopped.
With `--steampipe URL` it also fills the Steampipe stand-in on that PostgreSQL.
Nothing is kept: a restarted demo cloud is as it was first seeded, with the same ids, names and
times. It is a simulation (moto) and answers what moto implements of AWS.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
import threading
import time
from functools import partial

from demo import steampipe_standin as standin
from demo.cloud import (
    INVENTORY_PAGE,
    PRODUCTION,
    PRODUCTION_NAME,
    REGIONS,
    SANDBOX,
    SANDBOX_NAME,
    STATUS_PAGE,
)
from demo.moto_cloud import MotoCloud
from demo.seed import seed


def main(arguments: list[str] | None = None) -> None:
    """Seed and serve until SIGTERM, SIGINT or, if asked for, the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m demo.serve", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000, help="0 takes any free port")
    parser.add_argument("--small", action="store_true", help="identity and storage only")
    parser.add_argument(
        "--steampipe", metavar="URL", help="a PostgreSQL, as superuser, to put the stand-in on"
    )
    parser.add_argument(
        "--until-stdin-closes", action="store_true", help="end with the process that started it"
    )
    options = parser.parse_args(arguments)

    # The accounts here are made up; whatever the shell knows of real ones is no business of ours.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    # Everything is in memory and meant to be lost, so the quickest end is the cleanest.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if options.until_stdin_closes:
        threading.Thread(target=_end_with_stdin, daemon=True).start()

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((options.host, options.port))
        except OSError as error:
            sys.exit(
                f"The demo cloud cannot use {options.host}:{options.port} ({error.strerror}): "
                "end what listens there, or choose another --port."
            )
        _seed_and_serve(listener, small=options.small, database=options.steampipe)


def _seed_and_serve(listener: socket.socket, *, small: bool, database: str | None) -> None:
    started = time.monotonic()
    cloud = MotoCloud()
    seed(cloud, small=small)
    status = {
        "accounts": {PRODUCTION: PRODUCTION_NAME, SANDBOX: SANDBOX_NAME},
        "regions": list(REGIONS),
        "small": small,
        "seed_seconds": round(time.monotonic() - started, 1),
    }
    cloud.pages[STATUS_PAGE] = lambda: status
    if database:
        one_at_a_time = threading.Lock()

        def renew() -> dict[str, int]:
            with one_at_a_time:
                rows = standin.fill(database, lambda uid: partial(cloud.client, uid))
                return {"rows": asyncio.run(rows)}

        status["steampipe_url"] = asyncio.run(standin.prepare(database, wait_seconds=60))
        status["inventory"] = renew()
        cloud.pages[INVENTORY_PAGE] = renew
    host, port = listener.getsockname()[:2]
    listener.listen(128)
    sys.stdout.write(f"ready http://{host}:{port}\n")
    sys.stdout.flush()
    cloud.serve(listener)


def _end_with_stdin() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
