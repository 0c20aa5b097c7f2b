"""The same findings as plain Prowler: all shards of a scan beside one `prowler aws` run.

    python -m benchmarks.prowler_parity --demo
    python -m benchmarks.prowler_parity --services s3,iam,ec2 --regions eu-west-1,us-east-1

Credentials, and an endpoint other than AWS's own, come from the environment (`AWS_*`). Compares
failing findings by (check, region, resource uid): prints counts, what is missing, what is too much
and what is there twice; exit code 1 if anything differs. Some checks of plain Prowler report the
first of a list that its threads fill, and so change from run to run: where the two sides differ,
plain Prowler runs again, and the checks on which it disagrees with itself are named and left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from contracts.accounts import EnvironmentCredentials
from contracts.vocabulary import Provider
from demo import cloud as demo
from runtime.settings import Settings, get_settings
from scanners.prowler import prowler
from scanners.prowler.prowler_catalogue import load_catalogue
from scanners.prowler.prowler_plan import ProwlerShard, plan_shards

# The light environment lacks the packages of other clouds, which the command line imports whatever
# it scans. They are stood in for here, so that the AWS part runs as it is.
_ABSENT = (
    "alibabacloud_actiontrail20200706 alibabacloud_credentials alibabacloud_cs20151215 "
    "alibabacloud_ecs20140526 alibabacloud_gateway_oss_util alibabacloud_oss20190517 "
    "alibabacloud_ram20150501 alibabacloud_rds20140815 alibabacloud_sas20181203 "
    "alibabacloud_sls20201230 alibabacloud_sts20150401 alibabacloud_tea_openapi "
    "alibabacloud_vpc20160428 alibabacloud_tea_util Tea darabonba kubernetes slack_sdk tabulate "
    "markdown markupsafe google googleapiclient google_auth_httplib2"
)
_COMMAND_LINE = """
import importlib.abc, importlib.machinery, importlib.util, sys, types

class Named(type):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Named(name, (Exception,), {})

class Module(types.ModuleType):
    __getattr__ = Named.__getattr__

class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in NAMES:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Module(spec.name)
    def exec_module(self, module):
        pass

NAMES = {name for name in sys.argv.pop(1).split() if importlib.util.find_spec(name) is None}
sys.meta_path.append(Absent())
from prowler.__main__ import prowler
sys.exit(prowler())
"""


class Key(NamedTuple):
    """What makes a finding the same finding."""

    check_id: str
    region: str
    resource_uid: str


class Verdict(NamedTuple):
    """A finding as both sides report it."""

    key: Key
    status: str
    severity: str
    resource_name: str


def plain_command(python: Path, regions: Iterable[str], services: Iterable[str]) -> list[str]:
    """`prowler aws` over these regions and services, without its compliance files."""
    command = [str(python.absolute()), "-c", _COMMAND_LINE, _ABSENT, "aws", "--no-banner"]
    command += ["--no-color", "--ignore-exit-code-3", "--region", *regions]
    # Naming all severities changes nothing but that the compliance files are not written.
    command += ["--severity", "critical", "high", "medium", "low", "informational"]
    if chosen := list(services):
        command += ["--service", *chosen]
    return command


def plain_findings(
    python: Path, env: Mapping[str, str], regions: Iterable[str], services: Iterable[str]
) -> list[Verdict]:
    """What one run of plain Prowler reports."""
    return list(_of_report(json.loads(plain_report(python, env, regions, services))))


def plain_report(
    python: Path, env: Mapping[str, str], regions: Iterable[str], services: Iterable[str]
) -> bytes:
    """The OCSF file of one run of plain Prowler."""
    with tempfile.TemporaryDirectory() as directory:
        command = plain_command(python, regions, services)
        command += ["--output-formats", "json-ocsf", "--output-directory", directory]
        done = subprocess.run(
            [*command, "--output-filename", "plain"],
            env={"PATH": os.environ["PATH"], "HOME": directory, "TZ": "UTC", **env},
            capture_output=True,
            text=True,
            check=False,
        )
        report = Path(directory) / "plain.ocsf.json"
        if not report.exists():
            raise RuntimeError(f"prowler ended with {done.returncode}: {done.stderr[-2000:]}")
        return report.read_bytes()


def _of_report(report: list[dict[str, object]]) -> Iterator[Verdict]:
    for finding in report:
        resource = finding["resources"][0]  # type: ignore[index]  # JSON
        check_id = finding["metadata"]["event_code"]  # type: ignore[index]  # JSON
        yield Verdict(
            Key(check_id, resource["region"], resource["uid"]),
            str(finding["status_code"]).lower(),
            str(finding["severity"]).lower(),
            resource["name"],
        )


async def our_findings(
    shards: Iterable[ProwlerShard],
    settings: Settings,
    *,
    endpoint_url: str | None,
    home_region: str,
    at_once: int = 2,
) -> list[Verdict]:
    """What all shards together report, with the credentials of the environment."""
    slots = asyncio.Semaphore(at_once)
    found: list[Verdict] = []

    async def run(shard: ProwlerShard) -> None:
        job = prowler.ProwlerJob(
            provider=Provider.AWS,
            account_uid=None,
            credentials=EnvironmentCredentials(),
            endpoint_url=endpoint_url,
            home_region=home_region,
            regions=shard.regions,
            checks=shard.checks,
        )
        async with slots:
            async for message in prowler.run_shard(job, settings):
                if isinstance(message, prowler.FindingBatch):
                    found.extend(
                        Verdict(
                            Key(finding.check_id, finding.region, finding.resource_uid),
                            finding.status.value,
                            finding.severity.value,
                            finding.resource_name,
                        )
                        for finding in message.findings
                    )

    async with asyncio.TaskGroup() as group:
        for shard in shards:
            group.create_task(run(shard))
    return found


def failing(verdicts: Iterable[Verdict]) -> Counter[Key]:
    """How often each failing finding is reported."""
    return Counter(verdict.key for verdict in verdicts if verdict.status == "fail")


def difference(plain: list[Verdict], ours: list[Verdict]) -> Counter[Key]:
    """What only one side reports."""
    theirs, mine = failing(plain), failing(ours)
    return (theirs - mine) + (mine - theirs)


def compare(plain: list[Verdict], ours: list[Verdict], flapping: set[str]) -> bool:
    """Print how failing findings differ; True when they do not, flapping checks left out."""
    theirs, mine = failing(plain), failing(ours)
    print(f"plain prowler: {len(plain):6} findings, {sum(theirs.values()):6} failing")
    print(f"all shards:    {len(ours):6} findings, {sum(mine.values()):6} failing")
    print(
        f"checks that change between runs of plain prowler: {', '.join(sorted(flapping)) or 'none'}"
    )
    missing, extra = (
        {key for key in found if key.check_id not in flapping}
        for found in (theirs - mine, mine - theirs)
    )
    twice = {key for key, count in mine.items() if count > 1} - {
        key for key, count in theirs.items() if count > 1
    }
    for name, keys in (("missing", missing), ("extra", extra), ("twice", twice)):
        print(f"{name}: {len(keys)}")
        for key in sorted(keys)[:20]:
            print(f"  {key.check_id}  {key.region}  {key.resource_uid}")
    return not (missing or extra or twice)


async def main(arguments: list[str] | None = None) -> int:
    """Run both sides one after the other and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prowler_parity")
    parser.add_argument("--demo", action="store_true", help="start the demo cloud and use it")
    parser.add_argument("--regions", default=",".join(demo.REGIONS))
    parser.add_argument("--services", default="", help="all when left out")
    parser.add_argument("--home-region", default=demo.HOME_REGION)
    parser.add_argument("--region-batch-size", type=int, default=5)
    options = parser.parse_args(arguments)
    regions = options.regions.split(",")
    services = options.services.split(",") if options.services else []
    settings = get_settings()
    catalogue = await load_catalogue(settings, Provider.AWS)
    shards = plan_shards(
        catalogue,
        regions=regions,
        home_region=options.home_region,
        services=services or None,
        region_batch_size=options.region_batch_size,
    )
    with ExitStack() as stack:
        if options.demo:
            from tests.support.cloud import demo_cloud

            os.environ.update(stack.enter_context(demo_cloud()).environment)
        ours_too = ("AWS_", "PROWLER_AWS_")
        env = {name: value for name, value in os.environ.items() if name.startswith(ours_too)}
        env |= {
            "AWS_DEFAULT_REGION": options.home_region,
            "PROWLER_SKIP_OUTBOUND_HOST_CHECK": "true",
        }
        plain = plain_findings(settings.prowler_python, env, regions, services)
        print(f"{len(shards)} shards: {', '.join(shard.key for shard in shards)}")
        ours = await our_findings(
            shards,
            settings,
            endpoint_url=os.environ.get("AWS_ENDPOINT_URL"),
            home_region=options.home_region,
        )
        flapping: set[str] = set()
        for _ in range(3 if difference(plain, ours) else 0):
            again = plain_findings(settings.prowler_python, env, regions, services)
            flapping |= {key.check_id for key in difference(plain, again)}
    return 0 if compare(plain, ours, flapping) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
