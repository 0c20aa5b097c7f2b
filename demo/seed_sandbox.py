"""The second demo account: a playground with other people, other buckets and other mistakes."""

from __future__ import annotations

from demo.seed_storage import create_bucket
from demo.seeding import (
    HOME,
    IRELAND,
    Account,
    allow,
    policy,
    public_access_block,
    public_read_policy,
    tag_list,
    tags,
    trust,
)

_BUCKETS = [  # name, region, public
    ("acme-sandbox-scratch", HOME, True),
    ("acme-sandbox-hackathon-2025", HOME, True),
    ("acme-sandbox-terraform", HOME, False),
    ("acme-sandbox-demo-site", IRELAND, True),
]


def seed(account: Account) -> None:
    """A role to audit it, two people, four buckets, one open network and a few loose ends."""
    account.at(2025, 1, 13)
    _identity(account)
    for name, region, is_public in _BUCKETS:
        s3 = account.client("s3", region)
        create_bucket(s3, region, name)
        if is_public:
            s3.put_bucket_policy(Bucket=name, Policy=public_read_policy(name))
        else:
            s3.put_public_access_block(
                Bucket=name, PublicAccessBlockConfiguration=public_access_block(True)
            )
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tag_list("sandbox/platform")})
    for region in (HOME, IRELAND):
        _machines(account, region)
    for name in ("playground-orders", "playground-users"):
        account.client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
            Tags=tag_list("sandbox/platform"),
        )
    arn = f"arn:aws:sqs:{HOME}:{account.uid}:playground"
    account.client("sqs").create_queue(
        QueueName="playground",
        Attributes={"Policy": policy(allow("sqs:*", arn, Principal="*"))},
        tags=tags("sandbox/platform"),
    )
    account.client("sns").create_topic(Name="playground-events", Tags=tag_list("sandbox/platform"))
    account.client("kms").create_key(
        Description="playground", Tags=tag_list("sandbox/platform", "TagKey", "TagValue")
    )


def _identity(account: Account) -> None:
    iam = account.client("iam")
    iam.create_account_alias(AccountAlias="acme-sandbox")
    for user in ("sandbox-lena", "sandbox-omar"):
        iam.create_user(UserName=user, Tags=tag_list("sandbox/platform"))
        iam.create_login_profile(UserName=user, Password="Demo-only-1")  # noqa: S106 (moto)
        iam.create_access_key(UserName=user)
        iam.attach_user_policy(
            UserName=user, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
    iam.create_role(
        RoleName="CloudsweepAudit",
        AssumeRolePolicyDocument=trust({"AWS": "arn:aws:iam::123456789012:root"}),
        Tags=tag_list("sandbox/security"),
    )
    for name in ("SecurityAudit", "job-function/ViewOnlyAccess"):
        iam.attach_role_policy(
            RoleName="CloudsweepAudit", PolicyArn=f"arn:aws:iam::aws:policy/{name}"
        )


def _machines(account: Account, region: str) -> None:
    ec2 = account.client("ec2", region)
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    group = ec2.create_security_group(
        GroupName="playground", Description="anything goes", VpcId=network
    )["GroupId"]
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}],
    )
    image = ec2.register_image(Name="playground", RootDeviceName="/dev/sda1")["ImageId"]
    ec2.run_instances(
        ImageId=image,
        InstanceType="t3.micro",
        MinCount=1,
        MaxCount=1,
        SecurityGroupIds=[group],
        TagSpecifications=[
            {
                "ResourceType": "instance",
                "Tags": tag_list("sandbox/platform", Name=f"sandbox-{region}"),
            }
        ],
    )
