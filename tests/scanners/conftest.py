"""A cloud to scan, and Prowler to scan it with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contracts.vocabulary import Provider
from demo import cloud as demo
from runtime.settings import Settings
from scanners.prowler.prowler_catalogue import Catalogue, load_catalogue
from scanners.prowler.prowler_environment import environment_of
from scanners.prowler.prowler_install import install_prowler
from tests.support.cloud import RunningCloud, demo_cloud
from tests.support.endpoints import Endpoints, serving


@pytest.fixture(scope="session")
def prowler_settings() -> Settings:
    """Settings that name an environment with Prowler; made if this is the first run."""
    settings = Settings()
    install_prowler(environment_of(settings.prowler_python))
    return settings


@pytest.fixture(scope="module", autouse=True)
def no_retries() -> Iterator[None]:
    """A refused call is not repeated in these tests; in those of the whole product it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROWLER_AWS_BOTO3_RETRIES_MAX_ATTEMPTS", "0")
        yield


@pytest.fixture(scope="session")
async def catalogue(prowler_settings: Settings) -> Catalogue:
    """What Prowler knows of AWS."""
    return await load_catalogue(prowler_settings, Provider.AWS)


@pytest.fixture(scope="session")
def audited_cloud() -> Iterator[RunningCloud]:
    """A demo cloud with identities and buckets, and in each region a topic, a queue, a recorder,
    a backup plan and an instance whose user data holds a secret. Tests only read it."""
    with demo_cloud(small=True) as cloud:
        for region in demo.REGIONS:
            _furnish(cloud, region)
        yield cloud


def _furnish(cloud: RunningCloud, region: str) -> None:
    cloud.client("sns", region).create_topic(Name="alarms")
    cloud.client("sqs", region).create_queue(QueueName="orders")
    cloud.client("config", region).put_configuration_recorder(
        ConfigurationRecorder={
            "name": "default",
            "roleARN": f"arn:aws:iam::{demo.PRODUCTION}:role/{region}",
        }
    )
    rule = {"RuleName": "daily", "TargetBackupVaultName": "vault"}
    cloud.client("backup", region).create_backup_plan(
        BackupPlan={"BackupPlanName": f"plan-{region}", "Rules": [rule]}
    )
    ec2 = cloud.client("ec2", region)
    image = ec2.register_image(Name="server", RootDeviceName="/dev/sda1")["ImageId"]
    ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        UserData="export DB_PASSWORD=aQ9vT3xLw82pRz7K\n",
    )


@pytest.fixture(scope="session")
def endpoints(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Servers for network scanners on the loopback address."""
    with serving(tmp_path_factory.mktemp("endpoints")) as ports:
        yield ports
