"""What makes two findings the same finding: a digest of who reports what about which resource."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from uuid import UUID

DIGEST_BYTES = 16
"""As long as a uuid, which PostgreSQL stores and compares fastest."""


def finding_identity(
    team_id: UUID, source: str, provider: str, account_id: UUID
) -> Callable[[str, str, str], str]:
    """A function of (check, region, resource uid) that gives a finding's identity in hexadecimal.

    Each part is preceded by its length, so that no two different lists of parts run together.
    Severity, text, the tool's own uid and the resource's name are no part of it: they change, or
    several findings share them.
    """
    account = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in (str(team_id), source, str(provider), str(account_id)):
        account.update(_measured(part))

    def identity(check_id: str, region: str, resource_uid: str) -> str:
        digest = account.copy()
        digest.update(_measured(check_id) + _measured(region) + _measured(resource_uid))
        return digest.hexdigest()

    return identity


def _measured(part: str) -> bytes:
    return f"{len(part)}:{part}".encode("utf-8", "surrogatepass")
