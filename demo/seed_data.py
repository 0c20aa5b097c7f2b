"""The demo account's databases, caches, streams and data lake."""

from __future__ import annotations

from typing import Any, NamedTuple

from demo.seed_network import group_id, subnet_ids
from demo.seeding import FRANKFURT, HOME, IRELAND, SINGAPORE, Account, tag_list, tags

_PLACES = {HOME: "acme-prod-us", IRELAND: "acme-prod-eu", FRANKFURT: "acme-data-eu",
           SINGAPORE: "acme-prod-apac"}  # fmt: skip


class _Database(NamedTuple):
    """`traits`: public, encrypted, multi-az, protected, backed-up, iam-auth."""

    name: str
    region: str
    owner: str
    engine: str = "postgres"
    version: str = "16.3"
    traits: str = ""


_WELL_RUN = "encrypted multi-az protected backed-up iam-auth"

_DATABASES = [
    _Database("orders-us", HOME, "production/storefront", traits=_WELL_RUN),
    _Database("payments-us", HOME, "production/payments", traits=_WELL_RUN),
    _Database("crm", HOME, "production/growth", "mysql", "8.0.35", "encrypted backed-up"),
    _Database("legacy-erp", HOME, "production/data", "mysql", "5.7.44", "public"),
    _Database("staging", HOME, "staging/platform", traits="public"),
    _Database("orders-eu", IRELAND, "production/storefront", traits=_WELL_RUN),
    _Database("returns-eu", IRELAND, "production/logistics", traits="encrypted"),
    _Database("reporting", FRANKFURT, "production/data", "mysql", "8.0.35", "public backed-up"),
    _Database("warehouse-apac", SINGAPORE, "production/logistics", traits="backed-up"),
]

_AURORA = [  # cluster, region, owner, encrypted
    ("catalogue-us", HOME, "production/storefront", True),
    ("catalogue-eu", IRELAND, "production/storefront", False),
]

_TABLES = [  # DynamoDB: name, region, owner, point-in-time recovery, deletion protection
    ("orders", HOME, "production/storefront", True, True),
    ("sessions", HOME, "production/storefront", False, False),
    ("payment-tokens", HOME, "production/payments", True, True),
    ("feature-flags", HOME, "production/platform", False, False),
    ("terraform-locks", HOME, "production/platform", False, False),
    ("orders", IRELAND, "production/storefront", True, True),
    ("consents", IRELAND, "production/security", False, True),
    ("parcels", IRELAND, "production/logistics", False, False),
    ("experiments", FRANKFURT, "development/data", False, False),
    ("orders", SINGAPORE, "production/storefront", False, False),
    ("stock-levels", SINGAPORE, "production/logistics", False, False),
]

_CACHES = [  # replication group, region, owner, encrypted
    ("session-cache", HOME, "production/storefront", True),
    ("catalogue-cache", IRELAND, "production/storefront", False),
    ("stock-cache", SINGAPORE, "production/logistics", False),
]

_STREAMS = [  # Kinesis: name, region, encrypted
    ("clickstream", HOME, False),
    ("order-events", HOME, True),
    ("clickstream", IRELAND, False),
    ("lake-feed", FRANKFURT, True),
]


def seed(account: Account) -> None:
    """Relational, document and analytic stores."""
    account.at(2023, 4, 24)
    for region in _PLACES:
        account.client("rds", region).create_db_subnet_group(
            DBSubnetGroupName="private",
            DBSubnetGroupDescription="private subnets",
            SubnetIds=subnet_ids(account, region, _PLACES[region], "private"),
        )
    for database in _DATABASES:
        _create_database(account, database)
    for name, region, owner, encrypted in _AURORA:
        _create_aurora(account, name, region, owner, encrypted)
    for name, shared in (("legacy-erp", True), ("orders-us", False)):
        _copy(account.client("rds"), name, shared)
    for table in _TABLES:
        _create_table(account, *table)
    for name, region, owner, encrypted in _CACHES:
        account.client("elasticache", region).create_replication_group(
            ReplicationGroupId=name,
            ReplicationGroupDescription=name,
            Engine="redis",
            CacheNodeType="cache.t3.small",
            NumCacheClusters=2,
            AtRestEncryptionEnabled=encrypted,
            TransitEncryptionEnabled=encrypted,
            AutomaticFailoverEnabled=encrypted,
            Tags=tag_list(owner),
        )
    account.client("elasticache", HOME).create_cache_cluster(
        CacheClusterId="catalogue-memcached",
        Engine="memcached",
        CacheNodeType="cache.t3.micro",
        NumCacheNodes=1,
        Tags=tag_list("production/storefront"),
    )
    _warehouses(account)
    for name, region, encrypted in _STREAMS:
        kinesis = account.client("kinesis", region)
        kinesis.create_stream(StreamName=name, ShardCount=2)
        if encrypted:
            kinesis.start_stream_encryption(
                StreamName=name, EncryptionType="KMS", KeyId="alias/aws/kinesis"
            )
    _lake(account)


def _create_database(account: Account, database: _Database) -> None:
    has = database.traits.split().__contains__
    account.client("rds", database.region).create_db_instance(
        DBInstanceIdentifier=database.name,
        Engine=database.engine,
        EngineVersion=database.version,
        DBInstanceClass="db.m6g.large",
        AllocatedStorage=100,
        MasterUsername="admin" if database.engine == "mysql" else "acme",
        MasterUserPassword="Demo-only-1",
        DBSubnetGroupName="private",
        VpcSecurityGroupIds=[
            group_id(account, database.region, _PLACES[database.region], "db-postgres")
        ],
        PubliclyAccessible=has("public"),
        StorageEncrypted=has("encrypted"),
        MultiAZ=has("multi-az"),
        DeletionProtection=has("protected"),
        BackupRetentionPeriod=14 if has("backed-up") else 0,
        EnableIAMDatabaseAuthentication=has("iam-auth"),
        AutoMinorVersionUpgrade=has("multi-az"),
        CopyTagsToSnapshot=has("encrypted"),
        EnableCloudwatchLogsExports=["postgresql"] if has("multi-az") else [],
        Tags=tag_list(database.owner),
    )


def _create_aurora(account: Account, name: str, region: str, owner: str, encrypted: bool) -> None:
    rds = account.client("rds", region)
    rds.create_db_cluster(
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        MasterUsername="acme",
        MasterUserPassword="Demo-only-1",
        StorageEncrypted=encrypted,
        DeletionProtection=encrypted,
        BackupRetentionPeriod=7,
        Tags=tag_list(owner),
    )
    rds.create_db_instance(
        DBInstanceIdentifier=f"{name}-1",
        DBClusterIdentifier=name,
        Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
        Tags=tag_list(owner),
    )


def _copy(rds: Any, name: str, shared: bool) -> None:
    snapshot = f"{name}-before-migration"
    rds.create_db_snapshot(
        DBSnapshotIdentifier=snapshot,
        DBInstanceIdentifier=name,
        Tags=tag_list("production/data"),
    )
    if shared:
        rds.modify_db_snapshot_attribute(
            DBSnapshotIdentifier=snapshot, AttributeName="restore", ValuesToAdd=["all"]
        )


def _create_table(
    account: Account, name: str, region: str, owner: str, recoverable: bool, protected: bool
) -> None:
    dynamodb = account.client("dynamodb", region)
    dynamodb.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=protected,
        Tags=tag_list(owner),
    )
    if recoverable:
        dynamodb.update_continuous_backups(
            TableName=name,
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        )


def _warehouses(account: Account) -> None:
    for name, region, owner, exposed in (
        ("finance-dwh", HOME, "production/data", False),
        ("marketing-dwh", FRANKFURT, "production/growth", True),
    ):
        account.client("redshift", region).create_cluster(
            ClusterIdentifier=name,
            NodeType="ra3.xlplus",
            ClusterType="multi-node",
            NumberOfNodes=2,
            MasterUsername="acme" if not exposed else "awsuser",
            MasterUserPassword="Demo-only-1",
            PubliclyAccessible=exposed,
            Encrypted=not exposed,
            Tags=tag_list(owner),
        )
    for name, region, encrypted in (("search", IRELAND, True), ("logs", FRANKFURT, False)):
        account.client("opensearch", region).create_domain(
            DomainName=name,
            EngineVersion="OpenSearch_2.11" if encrypted else "Elasticsearch_7.1",
            EncryptionAtRestOptions={"Enabled": encrypted},
            NodeToNodeEncryptionOptions={"Enabled": encrypted},
            DomainEndpointOptions={"EnforceHTTPS": encrypted},
            TagList=tag_list("production/storefront"),
        )


def _lake(account: Account) -> None:
    glue = account.client("glue", FRANKFURT)
    role = f"arn:aws:iam::{account.uid}:role/glue-etl"
    for name in ("raw", "curated", "sandbox"):
        glue.create_database(DatabaseInput={"Name": name})
    for name in ("orders-daily", "clicks-hourly"):
        glue.create_job(
            Name=name,
            Role=role,
            Command={"Name": "glueetl", "ScriptLocation": "s3://acme-datalake-raw/jobs/etl.py"},
            Tags=tags("production/data"),
        )
    glue.create_crawler(
        Name="raw",
        Role=role,
        DatabaseName="raw",
        Targets={"S3Targets": [{"Path": "s3://acme-datalake-raw/"}]},
        Tags=tags("production/data"),
    )
    athena = account.client("athena", FRANKFURT)
    for name in ("analysts", "finance"):
        athena.create_work_group(
            Name=name,
            Configuration={
                "ResultConfiguration": {"OutputLocation": "s3://acme-athena-results/"},
                "EnforceWorkGroupConfiguration": name == "finance",
            },
            Tags=tag_list("production/data"),
        )
    account.client("firehose", FRANKFURT).create_delivery_stream(
        DeliveryStreamName="lake-feed",
        S3DestinationConfiguration={
            "RoleARN": role,
            "BucketARN": "arn:aws:s3:::acme-datalake-raw",
        },
        Tags=tag_list("production/data"),
    )
