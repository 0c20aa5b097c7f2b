"""The demo account's machines, images, functions and clusters."""

from __future__ import annotations

import io
import zipfile
from typing import Any, NamedTuple

from demo.seed_network import group_id, subnet_ids
from demo.seeding import FRANKFURT, HOME, IRELAND, SINGAPORE, Account, tag_list, tags


class _Machine(NamedTuple):
    name: str
    region: str
    vpc: str
    subnet: str  # public or private
    group: str
    owner: str
    kind: str = "t3.medium"
    copies: int = 1
    role: str = "ec2-web"
    imds_v2: bool = True
    user_data: str = ""


_LEAKY = "#!/bin/sh\nexport DB_PASSWORD=Tr0ub4dor-demo-only\n/opt/acme/start\n"

_MACHINES = [
    _Machine("web-us", HOME, "acme-prod-us", "private", "app", "production/storefront", copies=3),
    _Machine("checkout-us", HOME, "acme-prod-us", "private", "app", "production/payments",
             "m5.large", copies=2),
    _Machine("bastion-us", HOME, "acme-prod-us", "public", "bastion", "production/platform",
             "t3.micro", role="", imds_v2=False),
    _Machine("jenkins", HOME, "acme-prod-us", "public", "web-alb", "production/platform",
             "m5.xlarge", role="ec2-batch", imds_v2=False),
    _Machine("erp-bridge", HOME, "acme-prod-us", "private", "app", "production/data",
             imds_v2=False, user_data=_LEAKY),
    _Machine("staging-web", HOME, "acme-staging-us", "public", "debug-temp", "staging/storefront",
             "t3.small", copies=2, role="", imds_v2=False),
    _Machine("web-eu", IRELAND, "acme-prod-eu", "private", "app", "production/storefront",
             copies=3),
    _Machine("checkout-eu", IRELAND, "acme-prod-eu", "private", "app", "production/payments",
             "m5.large", copies=2),
    _Machine("bastion-eu", IRELAND, "acme-prod-eu", "public", "bastion", "production/platform",
             "t3.micro"),
    _Machine("mail-relay", IRELAND, "acme-prod-eu", "public", "web-alb", "production/platform",
             role="", imds_v2=False),
    _Machine("spark", FRANKFURT, "acme-data-eu", "private", "app", "production/data",
             "r5.2xlarge", copies=2, role="ec2-batch"),
    _Machine("superset", FRANKFURT, "acme-data-eu", "public", "opensearch", "development/data",
             role="", imds_v2=False),
    _Machine("web-apac", SINGAPORE, "acme-prod-apac", "private", "app", "production/storefront",
             copies=2),
    _Machine("warehouse-terminal", SINGAPORE, "acme-prod-apac", "public", "windows-jump",
             "production/logistics", "t3.large", role="", imds_v2=False),
    _Machine("label-printer", SINGAPORE, "acme-prod-apac", "public", "legacy-ftp",
             "production/logistics", "t2.micro", role="", imds_v2=False),
]  # fmt: skip

_VOLUMES = [  # name, region, owner, GiB, encrypted
    ("postgres-data", HOME, "production/payments", 500, True),
    ("jenkins-workspace", HOME, "production/platform", 200, False),
    ("erp-archive", HOME, "production/data", 1000, False),
    ("search-index", IRELAND, "production/storefront", 300, True),
    ("mail-spool", IRELAND, "production/platform", 50, False),
    ("feature-store", FRANKFURT, "production/data", 2000, True),
    ("notebook-scratch", FRANKFURT, "development/data", 100, False),
    ("warehouse-photos", SINGAPORE, "production/logistics", 400, False),
]

_SNAPSHOTS = {"postgres-data": "", "jenkins-workspace": "public", "erp-archive": "",
              "search-index": "", "warehouse-photos": ""}  # fmt: skip


class _Function(NamedTuple):
    name: str
    region: str
    owner: str
    runtime: str = "python3.12"
    role: str = "lambda-default"
    environment: dict[str, str] = {}  # noqa: RUF012 (never changed)
    is_public: bool = False


_FUNCTIONS = [
    _Function("order-created", HOME, "production/storefront"),
    _Function("payment-webhook", HOME, "production/payments", role="lambda-payments",
              environment={"STAGE": "prod", "API_PASSWORD": "Demo-0nly-Secret-4711"}),
    _Function("invoice-pdf", HOME, "production/payments", "nodejs20.x"),
    _Function("image-resize", HOME, "production/storefront", "python3.8"),
    _Function("contact-form", HOME, "production/growth", "nodejs14.x", is_public=True),
    _Function("stock-sync", IRELAND, "production/logistics"),
    _Function("vat-check", IRELAND, "production/payments", role="lambda-payments"),
    _Function("gdpr-erase", FRANKFURT, "production/security"),
    _Function("lake-ingest", FRANKFURT, "production/data", "python3.9"),
    _Function("label-print", SINGAPORE, "production/logistics", "python3.11"),
]  # fmt: skip

_REPOSITORIES = [  # name, region, owner, scanned on push, immutable tags
    ("acme/storefront", HOME, "production/storefront", True, True),
    ("acme/checkout", HOME, "production/payments", True, False),
    ("acme/ci-runner", HOME, "production/platform", False, False),
    ("acme/storefront", IRELAND, "production/storefront", True, True),
    ("acme/spark", FRANKFURT, "production/data", False, False),
    ("acme/labels", SINGAPORE, "production/logistics", False, False),
]

_CLUSTERS = [  # ECS: name, region, owner, container insights
    ("storefront", HOME, "production/storefront", True),
    ("checkout", HOME, "production/payments", True),
    ("storefront", IRELAND, "production/storefront", False),
    ("logistics", SINGAPORE, "production/logistics", False),
]

_KUBERNETES = [  # name, region, VPC, owner, version, endpoint open to everybody
    ("platform", IRELAND, "acme-prod-eu", "production/platform", "1.31", False),
    ("data", FRANKFURT, "acme-data-eu", "production/data", "1.27", True),
]


def seed(account: Account) -> None:
    """Instances and their disks, functions, container registries and clusters."""
    for region in (HOME, IRELAND, FRANKFURT, SINGAPORE):
        _machines(account, region)
    _volumes(account)
    account.at(2024, 2, 12)
    for function in _FUNCTIONS:
        _create_function(account, function)
    _containers(account)
    _kubernetes(account)
    _scaling(account)


def _machines(account: Account, region: str) -> None:
    ec2 = account.client("ec2", region)
    account.at(2023, 10, 2)
    image = ec2.register_image(
        Name="acme-base-2023.10",
        Architecture="x86_64",
        RootDeviceName="/dev/sda1",
        VirtualizationType="hvm",
    )["ImageId"]
    ec2.create_tags(
        Resources=[image], Tags=tag_list("production/platform", Name="acme-base-2023.10")
    )
    if region == HOME:  # shared by mistake
        ec2.modify_image_attribute(ImageId=image, LaunchPermission={"Add": [{"Group": "all"}]})
    account.at(2025, 6, 16)
    for machine in (m for m in _MACHINES if m.region == region):
        for number in range(1, machine.copies + 1):
            suffix = f"-{number}" if machine.copies > 1 else ""
            _launch(account, ec2, machine, image, machine.name + suffix)


def _launch(account: Account, ec2: Any, machine: _Machine, image: str, name: str) -> None:
    subnet = subnet_ids(account, machine.region, machine.vpc, machine.subnet)[0]
    profile = {"IamInstanceProfile": {"Name": machine.role}} if machine.role else {}
    labels = tag_list(machine.owner, Name=name)
    ec2.run_instances(
        ImageId=image,
        InstanceType=machine.kind,
        MinCount=1,
        MaxCount=1,
        SubnetId=subnet,
        SecurityGroupIds=[group_id(account, machine.region, machine.vpc, machine.group)],
        MetadataOptions={
            "HttpTokens": "required" if machine.imds_v2 else "optional",
            "HttpEndpoint": "enabled",
        },
        UserData=machine.user_data,
        Monitoring={"Enabled": machine.owner.startswith("production")},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": labels},
            {"ResourceType": "volume", "Tags": labels},
        ],
        **profile,
    )


def _volumes(account: Account) -> None:
    account.at(2024, 11, 4)
    for name, region, owner, size, encrypted in _VOLUMES:
        ec2 = account.client("ec2", region)
        labels = tag_list(owner, Name=name)
        volume = ec2.create_volume(
            AvailabilityZone=region + "a",
            Size=size,
            Encrypted=encrypted,
            VolumeType="gp3",
            TagSpecifications=[{"ResourceType": "volume", "Tags": labels}],
        )["VolumeId"]
        if name not in _SNAPSHOTS:
            continue
        snapshot = ec2.create_snapshot(
            VolumeId=volume,
            Description=f"weekly copy of {name}",
            TagSpecifications=[{"ResourceType": "snapshot", "Tags": labels}],
        )["SnapshotId"]
        if _SNAPSHOTS[name] == "public":
            ec2.modify_snapshot_attribute(
                SnapshotId=snapshot,
                Attribute="createVolumePermission",
                OperationType="add",
                GroupNames=["all"],
            )


def _code(name: str) -> bytes:
    """A function's code as the zip that Lambda takes; the same bytes every time."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        entry = zipfile.ZipInfo("handler.py", date_time=(2024, 2, 12, 12, 0, 0))
        packed.writestr(entry, f'def handler(event, context):\n    return "{name}"\n')
    return archive.getvalue()


def _create_function(account: Account, function: _Function) -> None:
    client = account.client("lambda", function.region)
    client.create_function(
        FunctionName=function.name,
        Runtime=function.runtime,
        Role=f"arn:aws:iam::{account.uid}:role/{function.role}",
        Handler="handler.handler",
        Code={"ZipFile": _code(function.name)},
        Environment={"Variables": function.environment},
        TracingConfig={"Mode": "PassThrough"},
        Tags=tags(function.owner),
    )
    if function.is_public:
        client.create_function_url_config(
            FunctionName=function.name, AuthType="NONE", Cors={"AllowOrigins": ["*"]}
        )
        client.add_permission(
            FunctionName=function.name,
            StatementId="everybody",
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
        )


def _containers(account: Account) -> None:
    account.at(2023, 6, 19)
    for name, region, owner, scanned, immutable in _REPOSITORIES:
        account.client("ecr", region).create_repository(
            repositoryName=name,
            imageScanningConfiguration={"scanOnPush": scanned},
            imageTagMutability="IMMUTABLE" if immutable else "MUTABLE",
            tags=tag_list(owner),
        )
    for name, region, owner, insights in _CLUSTERS:
        ecs = account.client("ecs", region)
        labels = tag_list(owner, "key", "value")
        ecs.create_cluster(
            clusterName=name,
            settings=[
                {"name": "containerInsights", "value": "enabled" if insights else "disabled"}
            ],
            tags=labels,
        )
        task = ecs.register_task_definition(
            family=f"{name}-web",
            networkMode="awsvpc" if insights else "host",
            taskRoleArn=f"arn:aws:iam::{account.uid}:role/ecs-task-checkout",
            executionRoleArn=f"arn:aws:iam::{account.uid}:role/ecs-task-execution",
            containerDefinitions=[
                {
                    "name": "web",
                    "image": f"{account.uid}.dkr.ecr.{region}.amazonaws.com/acme/{name}:stable",
                    "memory": 512,
                    "privileged": name == "logistics",
                    "readonlyRootFilesystem": insights,
                    "user": "app" if insights else "root",
                    "environment": [{"name": "STAGE", "value": "prod"}],
                }
            ],
            tags=labels,
        )["taskDefinition"]["taskDefinitionArn"]
        ecs.create_service(
            cluster=name, serviceName="web", taskDefinition=task, desiredCount=2, tags=labels
        )


def _kubernetes(account: Account) -> None:
    for name, region, vpc, owner, version, is_open in _KUBERNETES:
        eks = account.client("eks", region)
        subnets = subnet_ids(account, region, vpc, "private")
        eks.create_cluster(
            name=name,
            version=version,
            roleArn=f"arn:aws:iam::{account.uid}:role/eks-cluster",
            resourcesVpcConfig={
                "subnetIds": subnets,
                "endpointPublicAccess": is_open,
                "endpointPrivateAccess": not is_open,
                "publicAccessCidrs": ["0.0.0.0/0"] if is_open else ["203.0.113.0/24"],
            },
            tags=tags(owner),
        )
        eks.create_nodegroup(
            clusterName=name,
            nodegroupName="general",
            nodeRole=f"arn:aws:iam::{account.uid}:role/eks-node",
            subnets=subnets,
            scalingConfig={"minSize": 1, "maxSize": 4, "desiredSize": 2},
            tags=tags(owner),
        )


def _scaling(account: Account) -> None:
    for region, vpc in ((HOME, "acme-prod-us"), (IRELAND, "acme-prod-eu")):
        account.client("ec2", region).create_launch_template(
            LaunchTemplateName="storefront",
            LaunchTemplateData={
                "InstanceType": "t3.medium",
                "MetadataOptions": {"HttpTokens": "optional"},
            },
            TagSpecifications=[
                {"ResourceType": "launch-template", "Tags": tag_list("production/storefront")}
            ],
        )
        account.client("autoscaling", region).create_auto_scaling_group(
            AutoScalingGroupName="storefront",
            MinSize=0,
            MaxSize=6,
            DesiredCapacity=0,
            LaunchTemplate={"LaunchTemplateName": "storefront", "Version": "$Latest"},
            VPCZoneIdentifier=",".join(subnet_ids(account, region, vpc, "private")),
        )
