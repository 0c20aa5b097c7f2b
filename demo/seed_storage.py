"""The demo account's object and file storage."""

from __future__ import annotations

from typing import Any, NamedTuple

from demo.seeding import (
    FRANKFURT,
    HOME,
    IRELAND,
    SINGAPORE,
    Account,
    allow,
    policy,
    public_access_block,
    public_read_policy,
    tag_list,
    tags,
)


class _Bucket(NamedTuple):
    """`traits`, each a word: see `_APPLY`."""

    name: str
    region: str
    owner: str
    traits: str = ""


_GOOD = "private kms versioned logged tls"

_BUCKETS = [  # those that take logs come first
    _Bucket(
        "acme-access-logs", HOME, "production/security", "private versioned log-target lifecycle"
    ),
    _Bucket("acme-eu-access-logs", IRELAND, "production/security", "private lifecycle log-target"),
    _Bucket("acme-cloudtrail-123456789012", HOME, "production/security", _GOOD),
    _Bucket("acme-config-123456789012", HOME, "production/security", "private tls"),
    _Bucket("acme-website", HOME, "production/storefront", "public-read website versioned"),
    _Bucket("acme-website-assets", HOME, "production/storefront", "public-read cors"),
    _Bucket("acme-marketing-uploads", HOME, "production/growth", "public-write"),
    _Bucket("acme-customer-invoices", HOME, "production/payments", _GOOD + " lifecycle"),
    _Bucket("acme-payment-exports", HOME, "production/payments", "private kms versioned"),
    _Bucket("acme-terraform-state", HOME, "production/platform", "private versioned"),
    _Bucket("acme-build-artifacts", HOME, "production/platform", "lifecycle"),
    _Bucket("acme-legacy-exports", HOME, "production/data", "public-acl"),
    _Bucket("acme-partner-dropzone", HOME, "production/logistics", "cross-account"),
    _Bucket("acme-db-dumps", HOME, "staging/platform", ""),
    _Bucket("acme-lambda-code-us", HOME, "production/platform", "private versioned tls"),
    _Bucket("acme-staging-assets", HOME, "staging/storefront", "public-read"),
    _Bucket("acme-crm-sync", HOME, "production/growth", "private"),
    _Bucket("acme-eu-orders-archive", IRELAND, "production/storefront", _GOOD + " lifecycle"),
    _Bucket("acme-eu-customer-documents", IRELAND, "production/payments", "kms versioned"),
    _Bucket("acme-eu-kyc-scans", IRELAND, "production/payments", "private kms"),
    _Bucket("acme-eu-returns-labels", IRELAND, "production/logistics", ""),
    _Bucket("acme-eu-staging-uploads", IRELAND, "staging/storefront", "public-acl"),
    _Bucket("acme-eu-mobile-releases", IRELAND, "production/storefront", "public-read versioned"),
    _Bucket("acme-eu-backup", IRELAND, "production/platform", "private kms versioned tls"),
    _Bucket("acme-datalake-raw", FRANKFURT, "production/data", "private kms lifecycle"),
    _Bucket("acme-datalake-curated", FRANKFURT, "production/data", "private kms versioned tls"),
    _Bucket("acme-datalake-sandbox", FRANKFURT, "development/data", ""),
    _Bucket("acme-athena-results", FRANKFURT, "production/data", "private lifecycle"),
    _Bucket("acme-ml-training-sets", FRANKFURT, "development/data", "cross-account"),
    _Bucket("acme-ml-models", FRANKFURT, "production/data", "private versioned"),
    _Bucket("acme-gdpr-exports", FRANKFURT, "production/security", _GOOD),
    _Bucket("acme-apac-static", SINGAPORE, "production/storefront", "public-read cors"),
    _Bucket("acme-apac-orders", SINGAPORE, "production/storefront", "private kms"),
    _Bucket("acme-apac-warehouse-photos", SINGAPORE, "production/logistics", ""),
    _Bucket("acme-apac-tmp", SINGAPORE, "development/platform", "public-write"),
]


def _private(s3: Any, bucket: _Bucket) -> None:
    s3.put_public_access_block(
        Bucket=bucket.name, PublicAccessBlockConfiguration=public_access_block(True)
    )


def _open_block(s3: Any, bucket: _Bucket) -> None:
    s3.put_public_access_block(
        Bucket=bucket.name, PublicAccessBlockConfiguration=public_access_block(False)
    )


def _public_read(s3: Any, bucket: _Bucket) -> None:
    _open_block(s3, bucket)
    s3.put_bucket_policy(Bucket=bucket.name, Policy=public_read_policy(bucket.name))


def _public_write(s3: Any, bucket: _Bucket) -> None:
    _open_block(s3, bucket)
    statement = allow(["s3:GetObject", "s3:PutObject"], _inside(bucket.name), Principal="*")
    s3.put_bucket_policy(Bucket=bucket.name, Policy=policy(statement))


def _public_acl(s3: Any, bucket: _Bucket) -> None:
    _open_block(s3, bucket)
    s3.put_bucket_acl(Bucket=bucket.name, ACL="public-read")


def _cross_account(s3: Any, bucket: _Bucket) -> None:
    partner = {"AWS": "arn:aws:iam::464622532012:root"}
    statement = allow("s3:*", _inside(bucket.name), Principal=partner)
    s3.put_bucket_policy(Bucket=bucket.name, Policy=policy(statement))


def _deny_plain_http(bucket: _Bucket) -> dict[str, Any]:
    return {
        "Effect": "Deny",
        "Principal": {"AWS": "*"},
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket.name}", _inside(bucket.name)],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _tls(s3: Any, bucket: _Bucket) -> None:
    s3.put_bucket_policy(Bucket=bucket.name, Policy=policy(_deny_plain_http(bucket)))


def _log_target(s3: Any, bucket: _Bucket) -> None:
    delivery = allow(
        "s3:PutObject", _inside(bucket.name), Principal={"Service": "logging.s3.amazonaws.com"}
    )
    document = policy(delivery, _deny_plain_http(bucket))
    s3.put_bucket_policy(Bucket=bucket.name, Policy=document)


def _kms(s3: Any, bucket: _Bucket) -> None:
    rule = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/acme-storage"}
    s3.put_bucket_encryption(
        Bucket=bucket.name,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": rule, "BucketKeyEnabled": True}]
        },
    )


def _versioned(s3: Any, bucket: _Bucket) -> None:
    s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})


def _logged(s3: Any, bucket: _Bucket) -> None:
    target = "acme-eu-access-logs" if bucket.region == IRELAND else "acme-access-logs"
    if bucket.region in (HOME, IRELAND):
        s3.put_bucket_logging(
            Bucket=bucket.name,
            BucketLoggingStatus={
                "LoggingEnabled": {"TargetBucket": target, "TargetPrefix": f"{bucket.name}/"}
            },
        )


def _lifecycle(s3: Any, bucket: _Bucket) -> None:
    s3.put_bucket_lifecycle_configuration(
        Bucket=bucket.name,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "expire-after-a-year",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    "Expiration": {"Days": 365},
                }
            ]
        },
    )


def _website(s3: Any, bucket: _Bucket) -> None:
    s3.put_bucket_website(
        Bucket=bucket.name, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
    )


def _cors(s3: Any, bucket: _Bucket) -> None:
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    s3.put_bucket_cors(Bucket=bucket.name, CORSConfiguration={"CORSRules": [rule]})


_APPLY = {
    "private": _private,
    "public-read": _public_read,
    "public-write": _public_write,
    "public-acl": _public_acl,
    "cross-account": _cross_account,
    "tls": _tls,
    "log-target": _log_target,
    "kms": _kms,
    "versioned": _versioned,
    "logged": _logged,
    "lifecycle": _lifecycle,
    "website": _website,
    "cors": _cors,
}

_FILE_SYSTEMS = [  # name, region, owner, encrypted
    ("shared-media", HOME, "production/storefront", True),
    ("jenkins-home", HOME, "production/platform", False),
    ("notebooks", FRANKFURT, "development/data", False),
    ("warehouse-scans", SINGAPORE, "production/logistics", True),
]

_VAULTS = [(HOME, "production"), (IRELAND, "production"), (FRANKFURT, "datalake")]


def seed(account: Account) -> None:
    """Buckets, file systems, backup vaults and an archive."""
    for index, bucket in enumerate(_BUCKETS):
        account.at(2021 + index % 4, 1 + index % 12, 1 + index % 28)
        create_bucket(account.client("s3", bucket.region), bucket.region, bucket.name)
    for bucket in _BUCKETS:
        s3 = account.client("s3", bucket.region)
        for trait in bucket.traits.split():
            _APPLY[trait](s3, bucket)
        s3.put_bucket_tagging(Bucket=bucket.name, Tagging={"TagSet": tag_list(bucket.owner)})
    account.at(2023, 9, 4)
    for name, region, owner, encrypted in _FILE_SYSTEMS:
        account.client("efs", region).create_file_system(
            CreationToken=name, Encrypted=encrypted, Tags=tag_list(owner, Name=name)
        )
    _backups(account)
    account.client("glacier", IRELAND).create_vault(accountId="-", vaultName="tax-records")


def create_bucket(s3: Any, region: str, name: str) -> None:
    """Create an empty bucket in a region."""
    if region == HOME:  # the one region that must not be named
        s3.create_bucket(Bucket=name)
    else:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": region})


def _inside(bucket: str) -> str:
    return f"arn:aws:s3:::{bucket}/*"


def _backups(account: Account) -> None:
    for region, name in _VAULTS:
        account.client("backup", region).create_backup_vault(
            BackupVaultName=name, BackupVaultTags=tags("production/platform")
        )
    # In one region only: with plans in several, Prowler reports whichever answers first.
    account.client("backup", HOME).create_backup_plan(
        BackupPlan={
            "BackupPlanName": "production-daily",
            "Rules": [
                {
                    "RuleName": "daily",
                    "TargetBackupVaultName": "production",
                    "ScheduleExpression": "cron(0 3 * * ? *)",
                    "Lifecycle": {"DeleteAfterDays": 35},
                }
            ],
        },
        BackupPlanTags=tags("production/platform"),
    )
