"""Prowler's provider objects, and where Prowler is told to work faster or in a fixed order."""

from __future__ import annotations

import functools
import pickle
import socket
import sys
from typing import Any

from scanners.prowler_runner.check_texts import Texts

SERIAL_CALLS = frozenset(
    {
        "describe_configuration_recorders",  # kept by name, and names repeat in each region
        "_list_backup_plans",  # checks report the first of these ...
        "_list_backup_vaults",
        "_list_backup_report_plans",
        "_list_indexes",  # ... and of the Resource Explorer's
    }
)
"""Methods whose order shows in a verdict. In one thread per region it is a race, and the finding
flaps from run to run; these visit the regions in order instead."""


def make_provider(
    provider: str,
    arguments: dict[str, Any],
    regions: list[str],
    *,
    home_region: str = "",
    pinned: bool = False,
) -> Any:
    """Connect to the account: raises Prowler's own exceptions when that fails.

    `pinned`: the home region stays the default one though it is not among the regions.
    """
    if provider == "aws":
        from prowler.providers.aws import aws_provider

        # A megabyte of JSON that Prowler parses anew for every client.
        aws_provider.read_aws_regions_file = functools.lru_cache(aws_provider.read_aws_regions_file)
        _read_descriptions_without_words()
        if regions:
            arguments["regions"] = set(regions)
            _fix_default_region(aws_provider.AwsProvider, home_region, pinned=pinned)
        return aws_provider.AwsProvider(**arguments)
    if provider == "azure":
        from prowler.providers.azure.azure_provider import AzureProvider

        return AzureProvider(**arguments)
    if provider == "gcp":
        from prowler.providers.gcp.gcp_provider import GcpProvider

        return GcpProvider(**arguments)
    from prowler.providers.kubernetes.kubernetes_provider import KubernetesProvider

    return KubernetesProvider(**arguments)


def _fix_default_region(kind: Any, home_region: str, *, pinned: bool) -> None:
    """Where findings about a whole account are reported, and which region stands in their ARNs.

    Prowler takes the home region if it is scanned, else `list(set_of_regions)[0]`, which depends
    on the seed of the process. Ours: else the first by name. In one batch of the regions of a
    scan, where nothing is account-wide, it is the home region, as in a run over all of them.
    """

    def get_default_region(self: Any, service: str, global_service: bool = False) -> str:
        if global_service:
            return str(self.get_global_region())
        audited = self.identity.audited_regions
        available = kind.get_available_aws_service_regions(service, self.identity.partition)
        if home_region in available and (pinned or home_region in audited):
            return home_region
        return str(min(audited))

    kind.get_default_region = get_default_region


def _read_descriptions_without_words() -> None:
    """API descriptions in half the memory: no words for people, plain dictionaries, which are in
    order too. They are most of what a shard holds."""
    from botocore import loaders

    def described(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if isinstance(found.get("documentation"), str):  # not a member of that name
            found["documentation"] = ""
        return found

    loaders.OrderedDict = described  # what it makes each object with


def identity_of(provider: str, cloud: Any) -> dict[str, Any]:
    """Who we are: `account_uid`, `principal`, and the accounts that may be meant."""
    identity = cloud.identity
    if provider == "azure":
        accounts = sorted(identity.subscriptions)
        principal = f"{identity.identity_type}: {identity.identity_id}"
    elif provider == "gcp":
        accounts = sorted(cloud.project_ids)
        default = cloud.default_project_id
        accounts.sort(key=lambda project: project != default)  # the credentials' own comes first
        principal = identity.profile
    else:
        accounts = [identity.cluster]
        principal = f"{identity.user} in context {identity.context}"
    return {"accounts": accounts, "principal": str(principal)}


def prepare_checks(texts: Texts) -> None:
    """Give checks their texts from memory: Prowler parses a check's file twice, then the text
    again for every single finding. Must run before the first check module is imported."""
    from prowler.lib.check import models

    kept: dict[str, Any] = {}
    parse = models.CheckMetadata.parse_raw

    class Check:
        """Prowler's `Check` without the parsing: same attributes, same `metadata()`."""

        def __init__(self) -> None:
            text, pickled = texts.checks[type(self).__name__]
            metadata = pickle.loads(pickled)  # noqa: S301 (from our own file, see check_texts)
            self.__dict__.update(metadata.__dict__)
            self._text = text
            kept.clear()  # one check at a time needs it
            kept[text] = metadata

        def metadata(self) -> str:
            return self._text

    def parse_raw(text: Any, **options: Any) -> Any:
        known = kept.get(text)
        # A copy, for some checks raise the severity of a single finding.
        return parse(text, **options) if known is None else known.copy()

    models.Check = Check
    models.CheckMetadata.parse_raw = parse_raw


def prepare_aws() -> None:
    """Fixed order where order decides, one client class per service instead of per region, and no
    call repeated to a host that does not exist."""
    from botocore.client import ClientCreator
    from prowler.providers.aws.lib.service.service import AWSService

    in_threads = AWSService.__threading_call__

    def call(service: Any, method: Any, iterator: Any = None) -> None:
        if method.__name__ not in SERIAL_CALLS or iterator is not None:
            in_threads(service, method, iterator)
            return
        for _, client in sorted(service.regional_clients.items()):
            method(client)

    AWSService.__threading_call__ = call
    make_class = ClientCreator._create_client_class
    classes: dict[tuple[str, str], type] = {}

    def create_class(creator: Any, service_name: str, model: Any) -> type:
        key = (service_name, model.api_version)
        if key not in classes:
            classes.clear()  # clients of one service are made one after the other
            classes[key] = make_class(creator, service_name, model)
        return classes[key]

    ClientCreator._create_client_class = create_class
    _ask_no_missing_host_again()


def _ask_no_missing_host_again() -> None:
    """A service without an endpoint in a region, or that puts a name before a custom endpoint's.

    By default each such call sleeps through three tries, up to seven seconds. Should the name
    be missing for a moment only, the failure counts as an outage, and the shard is tried again.
    """
    from botocore.retries.standard import StandardRetryConditions

    is_retryable = StandardRetryConditions.is_retryable

    def retried(conditions: Any, context: Any) -> bool:
        if is_missing_host(context.caught_exception):
            return False
        return bool(is_retryable(conditions, context))

    StandardRetryConditions.is_retryable = retried


def is_missing_host(error: BaseException | None) -> bool:
    """True when the resolver's answer is that there is no such name, not that it has no answer."""
    while error is not None:
        if isinstance(error, socket.gaierror):
            return error.errno == socket.EAI_NONAME
        error = getattr(error, "kwargs", {}).get("error") or error.__cause__
    return False


def forget_service(provider: str, module: str, cloud: Any) -> None:
    """Free a service's clients and what they fetched; no check to come uses them."""
    name = f"prowler.providers.{provider}.services.{module.replace('/', '.')}"
    client = name.removesuffix("_service") + "_client"
    for dotted in (name, client):
        forget_module(dotted)
    if provider == "aws":
        # Parsed API descriptions, up to 40 MB each; the lists of what there is stay.
        loader = cloud.session.current_session._session.get_component("data_loader")
        for key in [key for key in loader._cache if key[0].startswith("load_")]:
            del loader._cache[key]


def forget_module(dotted: str) -> None:
    """Drop an imported module, and its parent's reference to it."""
    parent, _, leaf = dotted.rpartition(".")
    sys.modules.pop(dotted, None)
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(leaf, None)
