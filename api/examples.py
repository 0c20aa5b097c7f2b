"""Bodies as people may send them, for the documentation; a test sends each."""

from __future__ import annotations

from typing import Final

from fastapi.openapi.models import Example

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
        "value": {"account_id": "01930000-0000-7000-8000-000000000000"},
    },
    "scope": {
        "summary": "Some services in one region, without the inventory",
        "value": {
            "account_id": "01930000-0000-7000-8000-000000000000",
            "regions": ["eu-west-1"],
            "services": ["s3", "iam"],
            "discovery": False,
        },
    },
}
