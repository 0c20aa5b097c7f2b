"""The demo cloud: two AWS accounts that look real, on an endpoint of this machine.

`python -m demo.cloud --port 5000` seeds them, says `ready <url>`, and serves until it is stopped.
With `--steampipe URL` it also fills the Steampipe stand-in on that PostgreSQL.
Nothing is kept: a restarted demo cloud is as it was first seeded, with the same ids, names and
times. It is a simulation (moto) and answers what moto implements of AWS.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from functools import partial
from typing import Final

PRODUCTION: Final = "123456789012"
PRODUCTION_NAME: Final = "Acme Production"
SANDBOX: Final = "111111111111"
SANDBOX_NAME: Final = "Acme Sandbox"
SANDBOX_ROLE: Final = f"arn:aws:iam::{SANDBOX}:role/CloudsweepAudit"
"""To be assumed from the production account's environment; asks for no external id."""

HOME_REGION: Final = "us-east-1"
REGIONS: Final = ("us-east-1", "eu-west-1", "eu-central-1", "ap-southeast-1")

# AWS's own documentation uses this pair everywhere; here it is user cloudsweep-auditor.
ACCESS_KEY_ID: Final = "AKIAIOSFODNN7EXAMPLE"
SECRET_ACCESS_KEY: Final = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 (public)

DEMO_SERVICES: Final = (
    *("iam", "s3", "ec2", "vpc", "rds", "kms", "sqs", "sns", "dynamodb", "cloudtrail"),
    *("cloudwatch", "secretsmanager", "guardduty", "elbv2", "ecr", "ecs", "eks", "efs"),
    *("redshift", "awslambda"),
)
"""Services whose findings tell most in about a minute on two cores."""

_STATUS: Final = "/demo-cloud"
_INVENTORY: Final = "/demo-cloud/inventory"


def environment(url: str) -> dict[str, str]:
    """Variables that point AWS clients and scanners at a demo cloud and at nothing else."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
        "AWS_DEFAULT_REGION": HOME_REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PROWLER_SKIP_OUTBOUND_HOST_CHECK": "true",
    }


def renew_inventory(url: str) -> int:
    """Let the Steampipe stand-in see what the cloud holds now; answers its number of rows.

    Needed after a change, for the stand-in holds copies. Raises OSError when the demo cloud does
    not answer or has no stand-in.
    """
    with urllib.request.urlopen(url + _INVENTORY, timeout=120) as answer:  # noqa: S310 (http)
        return int(json.load(answer)["rows"])


def is_serving(url: str) -> bool:
    """True when a seeded demo cloud answers there."""
    try:
        with urllib.request.urlopen(url + _STATUS, timeout=5) as answer:  # noqa: S310 (http)
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def wait_until_serving(url: str, *, seconds: float = 120) -> bool:
    """Wait for a demo cloud that is being seeded; False when it does not come up in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_serving(url):
            return True
        time.sleep(0.2)
    return False


def main(arguments: list[str] | None = None) -> None:
    """Seed and serve until SIGTERM, SIGINT or, if asked for, the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m demo.cloud", description=__doc__)
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
    # Imported here: moto takes long, and those who only want the names above never need it.
    from demo.moto_cloud import MotoCloud
    from demo.seed import seed

    started = time.monotonic()
    cloud = MotoCloud()
    seed(cloud, small=small)
    status = {
        "accounts": {PRODUCTION: PRODUCTION_NAME, SANDBOX: SANDBOX_NAME},
        "regions": list(REGIONS),
        "small": small,
        "seed_seconds": round(time.monotonic() - started, 1),
    }
    cloud.pages[_STATUS] = lambda: status
    if database:
        from demo import steampipe_standin as standin

        one_at_a_time = threading.Lock()

        def renew() -> dict[str, int]:
            with one_at_a_time:
                rows = standin.fill(database, lambda uid: partial(cloud.client, uid))
                return {"rows": asyncio.run(rows)}

        status["steampipe_url"] = asyncio.run(standin.prepare(database, wait_seconds=60))
        status["inventory"] = renew()
        cloud.pages[_INVENTORY] = renew
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
