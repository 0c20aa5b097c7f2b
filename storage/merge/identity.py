"""What makes two findings the same finding: a digest of who reports what about which resource."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

from asyncpg.pgproto.pgproto import UUID as FastUUID

if TYPE_CHECKING:
    from hashlib import blake2b

DIGEST_BYTES: Final = 16
"""As long as a UUID."""


def finding_identity(
    team_id: UUID, source: str, provider: str, account_id: UUID
) -> Callable[[str, str, str], UUID]:
    """A function of (check, region, resource uid) that gives a finding's id.

    Each part but the last is preceded by its length, so that no two lists of parts run together.
    Severity, text, the tool's own uid and the resource's name are no part of it: they change, or
    several findings share them.
    """
    account = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in (str(team_id), source, str(provider), str(account_id)):
        account.update(_measured(part))
    known: tuple[str, str, blake2b] | None = None

    def identity(check_id: str, region: str, resource_uid: str) -> UUID:
        nonlocal known
        # Scanners report check by check: mostly it is the one before.
        if known is None or known[0] != check_id or known[1] != region:
            place = account.copy()
            place.update(_measured(check_id) + _measured(region))
            known = check_id, region, place
        digest = known[2].copy()
        digest.update(resource_uid.encode("utf-8", "surrogatepass"))
        made: UUID = FastUUID(digest.digest())
        return made

    return identity


def _measured(part: str) -> bytes:
    return f"{len(part)}:{part}".encode("utf-8", "surrogatepass")
