"""The demo cloud as a child process of a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from demo import cloud

_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningCloud:
    """A demo cloud that serves at `url`."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        """Variables that point scanners and AWS clients at it and at nothing else."""
        return cloud.environment(self.url)

    def client(
        self, service: str, region: str = cloud.HOME_REGION, *, sandbox: bool = False
    ) -> Any:
        """A boto3 client in the production account, or in the sandbox through its role."""
        return client_of(self.url, service, region, sandbox=sandbox)


@contextmanager
def demo_cloud(
    *, small: bool = False, port: int = 0, steampipe: str | None = None
) -> Iterator[RunningCloud]:
    """Seed a demo cloud, full or small, and end it afterwards; it dies with this process too.

    `steampipe` is a PostgreSQL, as superuser, that gets the Steampipe stand-in.
    """
    command = [sys.executable, "-m", "demo.serve", "--port", str(port), "--until-stdin-closes"]
    command += ["--small"] if small else []
    command += ["--steampipe", steampipe] if steampipe else []
    process = subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:  # waits for the end and closes the pipes
        assert process.stdout is not None
        try:
            said = process.stdout.readline().split()
            assert said[:1] == ["ready"], f"the demo cloud did not start: {said}"
            yield RunningCloud(said[1])
        finally:
            process.terminate()


def client_of(
    url: str, service: str, region: str = cloud.HOME_REGION, *, sandbox: bool = False
) -> Any:
    """A boto3 client for a demo cloud at `url`, or for a proxy in front of one; never retries."""
    session = boto3.Session(cloud.ACCESS_KEY_ID, cloud.SECRET_ACCESS_KEY, region_name=region)
    if sandbox:
        sts = session.client("sts", endpoint_url=url)
        given = sts.assume_role(RoleArn=cloud.SANDBOX_ROLE, RoleSessionName="test")["Credentials"]
        session = boto3.Session(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            region_name=region,
        )
    config = Config(retries={"total_max_attempts": 1}, read_timeout=20, connect_timeout=5)
    return session.client(service, endpoint_url=url, config=config)
