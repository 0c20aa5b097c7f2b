"""boto3 sessions that take nothing from the machine's own AWS configuration."""

from __future__ import annotations

import os
from typing import Any

import boto3
import botocore.session

# botocore's variables: (name in the configuration, names in the environment, default, conversion).
_NOTHING_FROM_OUTSIDE = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


def isolated_session(*keys: str) -> Any:
    """A session with these keys, whatever profile or files the shell names."""
    core = botocore.session.Session(_NOTHING_FROM_OUTSIDE)
    if keys:
        core.set_credentials(*keys)
    return boto3.Session(botocore_session=core)
