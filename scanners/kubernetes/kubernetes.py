"""The Kubernetes adapter: who we are in a cluster, and what it holds, kind by kind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final, NamedTuple

from contracts.accounts import CloudIdentity
from contracts.errors import TargetUnreachable
from contracts.observations import ObservedResource
from contracts.scans import Problem
from contracts.vocabulary import ErrorClass
from scanners.kubernetes.kubeconfig import ClusterAccess, read_access
from scanners.kubernetes.kubernetes_api import (
    JSON,
    METADATA,
    PAGE,
    Api,
    Expired,
    Limits,
    Refused,
    connected,
)
from scanners.kubernetes.kubernetes_kinds import GROUPS, Kind, observe

__all__ = ["GROUPS", "ClusterAccess", "Kind", "KindRead", "Limits", "identity", "read_access",
           "read_kinds"]  # fmt: skip

RESTARTS: Final = 3
"""How often a list that expired in the middle is begun again."""
MOST_PAGES: Final = 20_000
"""Ten million objects: more than any cluster has, so that a server cannot keep us for ever."""
LIMITS: Final = Limits()
PROMPT: Final = Limits(request_seconds=10, tries=2)
"""For the identity: somebody may wait for it, a minute at most."""


class KindRead(NamedTuple):
    """How listing one kind ended: completely, or with a problem that says why not."""

    kind: Kind
    rows: int
    problem: Problem | None


async def identity(access: ClusterAccess, *, limits: Limits = PROMPT) -> CloudIdentity:
    """Who the credentials are: the cluster's name, and the user the API server takes us for.

    Raises CredentialsRejected when it takes us for nobody, TargetUnreachable when it does not
    answer or is no API server. What we may list is not asked: a kind that is refused fails alone.
    """
    async with connected(access, limits) as api:
        user = await _user(api)
        if user is None:
            await _look(api, access)
    return CloudIdentity(
        account_uid=access.cluster,
        principal=f"{user or access.user} in context {access.context}",
    )


async def _user(api: Api) -> str | None:
    """The name that the server has for us; None where it does not tell (before 1.28)."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        told = await api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
        name = told["status"]["userInfo"]["username"]
    except (Refused, Expired, KeyError, TypeError):
        return None
    return str(name)[:200]


async def _look(api: Api, access: ClusterAccess) -> None:
    try:
        await api.get("/api/v1/namespaces", {"limit": "1"}, METADATA)
    except Expired:
        return
    except Refused as refused:
        if refused.error_class is not ErrorClass.DENIED:
            raise TargetUnreachable(
                f"{access.server} does not answer as an API server does: {refused.words}",
                fix="Check the server of the kubeconfig.",
            ) from None


async def read_kinds(
    access: ClusterAccess, kinds: Sequence[Kind], *, limits: Limits = LIMITS
) -> AsyncGenerator[list[ObservedResource] | KindRead, None]:
    """List the kinds one after the other: batches of resources, then one KindRead a kind.

    A kind that is refused, throttled or broken fails alone. No resource comes twice. Raises
    CredentialsRejected or TargetUnreachable for what is wrong with all of them. Close the
    generator (`aclosing`) to end early.
    """
    async with connected(access, limits) as api:
        for kind in kinds:
            seen: set[str] = set()
            nameless = 0
            problem: Problem | None = None
            restarts, pages, token = 0, 0, ""
            while True:
                query = {"limit": str(PAGE)} | ({"continue": token} if token else {})
                try:
                    page = await api.get(kind.path, query, METADATA if kind.metadata_only else JSON)
                    items, following = _page(page)
                except Expired:
                    restarts += 1
                    if restarts > RESTARTS:
                        words = f"The list expired {restarts} times while it was read."
                        problem = _problem(kind, ErrorClass.OTHER, words)
                        break
                    token = ""  # what was seen stays seen
                    continue
                except Refused as refused:
                    problem = _problem(kind, refused.error_class, refused.words)
                    break
                batch: list[ObservedResource] = []
                for item in items:
                    resource = observe(kind, item, context=access.context)
                    if resource is None:
                        nameless += 1
                    elif resource.uid not in seen:
                        seen.add(resource.uid)
                        batch.append(resource)
                if batch:
                    yield batch
                pages += 1
                if not following:
                    break
                if following == token or pages >= MOST_PAGES:
                    problem = _problem(kind, ErrorClass.OTHER, "The list does not end.")
                    break
                token = following
            if problem is None and nameless:
                words = f"{nameless} of {nameless + len(seen)} objects have no uid."
                problem = _problem(kind, ErrorClass.OTHER, words)
            yield KindRead(kind, len(seen), problem)


def _page(page: dict[str, Any]) -> tuple[list[Any], str]:
    """The items of a list, and the token for what follows; an empty list may be null."""
    items, metadata = page.get("items"), page.get("metadata")
    if not isinstance(items, list | None) or not isinstance(metadata, dict):
        raise Refused(ErrorClass.OTHER, "The answer is no list of Kubernetes objects.")
    return items or [], str(metadata.get("continue") or "")


def _problem(kind: Kind, error_class: ErrorClass, words: str) -> Problem:
    return Problem(
        service=f"kubernetes_{kind.type}",
        region=None,
        error_class=error_class,
        count=1,
        checks=[kind.type],
        message=words[:300],
    )
