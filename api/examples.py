"""Bodies as people may send them, for the documentation; a test sends each."""

from __future__ import annotations

from typing import Final

from fastapi.openapi.models import Example

ACCOUNT: Final = "01930000-0000-7000-8000-000000000000"

ACCOUNTS: Final[dict[str, Example]] = {
    "role": {
        "summary": "An AWS role, assumed from the worker's environment",
        "value": {
            "name": "production",
            "provider": "aws",
            "credentials": {
                "kind": "role",
                "role_arn": "arn:aws:iam::123456789012:role/security-audit",
                "external_id": "cloudsweep-production",
            },
            "regions": ["eu-west-1", "us-east-1"],
        },
    },
    "environment": {
        "summary": "What the worker's environment holds",
        "value": {
            "name": "staging",
            "provider": "aws",
            "credentials": {"kind": "environment"},
        },
    },
    "compatible": {
        "summary": "An AWS-compatible endpoint",
        "value": {
            "name": "local cloud",
            "provider": "aws",
            "credentials": {"kind": "environment"},
            "endpoint_url": "http://127.0.0.1:5000",
        },
    },
    "azure": {
        "summary": "An Azure subscription",
        "value": {
            "name": "subscription",
            "provider": "azure",
            "uid": "8d2f4b1e-0c1f-4a53-9a52-6f0a2f4e7b11",
            "credentials": {"kind": "managed_identity"},
        },
    },
    "kubernetes": {
        "summary": "A Kubernetes cluster",
        "value": {
            "name": "cluster",
            "provider": "kubernetes",
            "credentials": {"kind": "kube_context", "context": "prod", "path": "/secrets/config"},
        },
    },
}

SCANS: Final[dict[str, Example]] = {
    "everything": {
        "summary": "All of an account",
        "value": {"account_id": ACCOUNT},
    },
    "scope": {
        "summary": "Some services in one region, without the inventory",
        "value": {
            "account_id": ACCOUNT,
            "regions": ["eu-west-1"],
            "services": ["s3", "iam"],
            "discovery": False,
        },
    },
}

NATIVE_SCANS: Final[dict[str, Example]] = {
    "suitable": {
        "summary": "Every tool that suits the target",
        "value": {"targets": [ACCOUNT]},
    },
    "gently": {
        "summary": "One tool, slowly",
        "value": {"targets": [ACCOUNT], "tools": ["nmap"], "policy": "gentle"},
    },
}

SCHEDULES: Final[dict[str, Example]] = {
    "nightly": {
        "summary": "Scan an account every night, but not at the turn of the year",
        "value": {
            "name": "nightly",
            "target": {"kind": "cloud_scan", "account_id": ACCOUNT},
            "trigger": {"type": "cron", "cron": "0 2 * * *", "timezone": "Europe/Berlin"},
            "exclude": [{"type": "dates", "dates": ["12-24", "12-31"], "name": "change freeze"}],
        },
    },
    "office_hours": {
        "summary": "Some services every two hours, never two scans waiting, none in a maintenance",
        "value": {
            "name": "storage by day",
            "target": {
                "kind": "cloud_scan",
                "account_id": ACCOUNT,
                "options": {"services": ["s3", "iam"], "discovery": False},
            },
            "trigger": {
                "type": "cron",
                "cron": ["0 8-18/2 * * MON-FRI", "0 12 * * SAT"],
                "timezone": "America/New_York",
            },
            "overlap": "queue_one",
            "exclude": [{"type": "window", "start": "12:00", "end": "13:00", "days": ["wed"]}],
        },
    },
    "interval": {
        "summary": "Check credentials every six hours, spread over five minutes",
        "value": {
            "name": "credentials",
            "target": {
                "kind": "job",
                "job": "account_check",
                "params": {"account_id": ACCOUNT},
            },
            "trigger": {"type": "interval", "every_seconds": 21_600},
            "jitter_seconds": 300,
            "pause_after_failures": 3,
        },
    },
    "once": {
        "summary": "Once, after a migration",
        "value": {
            "name": "after the migration",
            "target": {"kind": "cloud_scan", "account_id": ACCOUNT},
            "trigger": {"type": "one_time", "at": "2099-12-01T02:00:00+01:00"},
            "catchup_seconds": 86_400,
        },
    },
    "expiry": {
        "summary": "Scan again thirty days before an acceptance of risk runs out",
        "value": {
            "name": "before acceptances run out",
            "target": {"kind": "cloud_scan", "account_id": ACCOUNT},
            "trigger": {
                "type": "expiry",
                "item_kind": "acceptance",
                "lead_seconds": 2_592_000,
                "filter": {"environment": "production"},
            },
            "overlap": "queue_one",
        },
    },
}

RUNS: Final[dict[str, Example]] = {
    "account_check": {
        "summary": "account_check: the credentials of an account",
        "value": {"params": {"account_id": ACCOUNT}},
    },
    "cloud_scan": {
        "summary": "cloud_scan: as `POST /scans`, and recorded as a run",
        "value": {"params": {"account_id": ACCOUNT, "services": ["s3"]}},
    },
}

ITEMS: Final[dict[str, Example]] = {
    "certificate": {
        "summary": "A certificate, due a month before it expires",
        "value": {
            "kind": "certificate",
            "name": "shop.example.com",
            "owner": "platform team",
            "expires_at": "2099-03-01T00:00:00Z",
            "lead_seconds": 2_592_000,
            "attributes": {"environment": "production"},
        },
    },
    "acceptance": {
        "summary": "A risk that was accepted for a time",
        "value": {
            "kind": "acceptance",
            "name": "public bucket of the press team",
            "expires_at": "2099-06-30T12:00:00Z",
        },
    },
}

DECISIONS: Final[dict[str, Example]] = {
    "accept": {
        "summary": "Accept the risk for a time",
        "value": {
            "action": "accept",
            "reason": "The bucket holds press pictures only.",
            "until": "2099-06-30T12:00:00Z",
        },
    },
    "false_positive": {
        "summary": "It is none",
        "value": {"action": "false_positive", "reason": "The port is closed by the firewall."},
    },
    "assign": {"summary": "Say whose it is", "value": {"action": "assign", "owner": "platform"}},
    "in_progress": {"summary": "Begin", "value": {"action": "in_progress"}},
    "comment": {
        "summary": "Add to the history",
        "value": {"action": "comment", "comment": "Waits for the next release."},
    },
    "reopen": {
        "summary": "Undo what was decided",
        "value": {"action": "reopen", "reason": "The bucket is used by the shop now."},
    },
}

MUTE_RULES: Final[dict[str, Example]] = {
    "sandbox": {
        "summary": "Whatever is tagged as a test",
        "value": {"tag": "env:test", "reason": "Test resources live for an hour."},
    },
    "check": {
        "summary": "One check on some resources, until a migration is over",
        "value": {
            "check_id": "s3_bucket_default_encryption",
            "resource": "arn:aws:s3:::press-*",
            "region": "eu-west-1",
            "reason": "Replaced in spring.",
            "until": "2099-04-01T00:00:00Z",
        },
    },
}

RETENTION_PREVIEWS: Final[dict[str, Example]] = {
    "stored": {"summary": "By the stored policies", "value": {}},
    "proposed": {
        "summary": "Before they are changed",
        "value": {"keep_days": {"events": 90, "runs": None}},
    },
}

HOLDS: Final[dict[str, Example]] = {
    "lawsuit": {
        "summary": "Everything that is known of some resources",
        "value": {
            "name": "case 4711",
            "reason": "Asked for by the legal department.",
            "tag": "customer:acme",
        },
    },
    "severe": {
        "summary": "Severe findings with their history",
        "value": {
            "name": "audit 2099",
            "reason": "The auditors look at these.",
            "kinds": ["events", "resolved_findings"],
            "severity": ["critical", "high"],
        },
    },
}

TARGETS: Final[dict[str, Example]] = {
    "host": {
        "summary": "A host with a port",
        "value": {
            "kind": "host",
            "value": "www.example.com:443",
            "tags": {"environment": "production"},
        },
    },
    "cidr": {"summary": "A network", "value": {"kind": "cidr", "value": "203.0.113.0/28"}},
    "url": {
        "summary": "A web application",
        "value": {"kind": "url", "value": "https://shop.example.com/"},
    },
    "image": {
        "summary": "A container image",
        "value": {"kind": "image", "value": "ghcr.io/example/shop:1.4.2"},
    },
    "repository": {
        "summary": "A directory on the workers",
        "value": {"kind": "repository", "value": "/srv/repositories/shop"},
    },
    "cluster": {"summary": "A cluster", "value": {"kind": "cluster", "value": "production"}},
}

HYBRID: Final[dict[str, Example]] = {
    "everything": {"summary": "The networks of every valid scope", "value": {}},
    "gently": {
        "summary": "Those of one scope, slowly",
        "value": {"scopes": [ACCOUNT], "policy": "gentle"},
    },
}

SCAN_POLICIES: Final[dict[str, Example]] = {
    "night": {
        "summary": "Slowly, and only the ports of the web",
        "value": {"timing": 2, "rate": 20, "parallelism": 1, "ports": "80,443,8000-8100"},
    },
}

SCOPES: Final[dict[str, Example]] = {
    "perimeter": {
        "summary": "A domain with all below it, and the networks behind it, for some years",
        "value": {
            "name": "perimeter",
            "allows": [
                {"kind": "domain", "value": "example.com", "subdomains": True},
                {"kind": "cidr", "value": "203.0.113.0/24"},
                {"kind": "cidr", "value": "10.20.0.0/16"},
            ],
            "approved_by": "Ada Lovelace, CISO",
            "note": "Contract 2026/17, appendix B.",
            "valid_until": "2099-06-30T12:00:00Z",
        },
    },
    "builds": {
        "summary": "What the build makes",
        "value": {
            "name": "builds",
            "allows": [
                {"kind": "image", "value": "ghcr.io/example"},
                {"kind": "path", "value": "/srv/repositories"},
                {"kind": "cluster", "value": "production"},
            ],
        },
    },
}

CASCADES: Final[dict[str, Example]] = {
    "tls": {
        "summary": "testssl on each port that turns out to speak TLS",
        "value": {
            "name": "tls-ports-of-the-office",
            "when": {
                "on": "finding",
                "source": ["nmap"],
                "check_id": ["ssl-cert"],
                "ports": "443,8000-9999",
            },
            "then": {"tools": ["testssl"], "policy": "gentle", "target": "host_port"},
            "max_targets": 10,
        },
    },
    "public": {
        "summary": "ZAP on each new load balancer that the internet reaches",
        "value": {
            "name": "new-shops",
            "when": {
                "on": "resource",
                "types": ["ec2_application_load_balancer"],
                "attributes": {"scheme": "internet-facing"},
                "tags": {"team": "shop"},
            },
            "then": {"tools": ["zap"], "target": "url"},
        },
    },
}

CASCADE_PREVIEWS: Final[dict[str, Example]] = {
    "all": {"summary": "Every rule of the team", "value": {"scan_id": ACCOUNT}},
    "proposed": {
        "summary": "A rule before it is added",
        "value": {"scan_id": ACCOUNT, "rule": CASCADES["tls"]["value"]},
    },
}
