"""`cloudsweep account`: what to scan, and how to get in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from commands import removal
from commands.client import FAILED, WRONG_USAGE, Api, Failure, Row, connected
from commands.option_values import list_of
from commands.output import (
    AsJson,
    Cursor,
    Limit,
    age,
    cell,
    fields,
    say,
    short,
    show,
    show_page,
    table,
)
from contracts.vocabulary import Provider

app = typer.Typer(no_args_is_help=True, help="Accounts to scan: add, check, change, remove.")

Which = Annotated[str, typer.Argument(metavar="ACCOUNT", help="Name, id or a part of the id.")]
Regions = Annotated[str | None, typer.Option(help="Regions to scan, with commas; else all.")]
Endpoint = Annotated[
    str | None, typer.Option("--endpoint-url", help="An AWS-compatible endpoint to use.")
]
Profile = Annotated[str | None, typer.Option(help="Profile of the worker's AWS configuration.")]
RoleArn = Annotated[
    str | None, typer.Option(help="AWS role to assume, from --profile or --credentials-file.")
]
ExternalId = Annotated[str | None, typer.Option(help="External id of the role.")]
CredentialsFile = Annotated[
    str | None, typer.Option(help="Secret file that exists on the workers, absolute path.")
]
AzureCli = Annotated[bool, typer.Option("--azure-cli", help="The worker's `az login` (Azure).")]
ManagedIdentity = Annotated[
    bool, typer.Option("--managed-identity", help="The worker's managed identity (Azure).")
]
ServiceAccount = Annotated[str | None, typer.Option(help="Service account to impersonate (GCP).")]
KubeContext = Annotated[
    str | None, typer.Option(help="Context of the kubeconfig, or of --credentials-file.")
]


def find(api: Api, text: str) -> str:
    """The id of the account that a person named."""
    return api.resolve("accounts", text, "account")


def credentials_of(
    *,
    profile: str | None,
    role_arn: str | None,
    external_id: str | None,
    file: str | None,
    azure_cli: bool,
    managed_identity: bool,
    service_account: str | None,
    kube_context: str | None,
) -> Row | None:
    """The reference that the options describe; None when none was given."""
    kubeconfig = {} if file is None else {"path": file}
    special = _one_of(
        {"kind": "azure_cli"} if azure_cli else None,
        {"kind": "managed_identity"} if managed_identity else None,
        None
        if service_account is None
        else {"kind": "impersonation", "service_account": service_account},
        None
        if kube_context is None
        else {"kind": "kube_context", "context": kube_context, **kubeconfig},
    )
    source = _one_of(
        None if profile is None else {"kind": "profile", "profile": profile},
        None if file is None or kube_context is not None else {"kind": "file", "path": file},
    )
    if role_arn is not None:
        role = {"kind": "role", "role_arn": role_arn, "source": source or {"kind": "environment"}}
        return _one_of(role | _given(external_id=external_id), special)
    if external_id is not None:
        raise Failure("--external-id belongs to --role-arn.", code=WRONG_USAGE)
    return _one_of(source, special)


def _one_of(*choices: Row | None) -> Row | None:
    given = [choice for choice in choices if choice]
    if len(given) > 1:
        raise Failure("These credential options do not go together.", code=WRONG_USAGE)
    return given[0] if given else None


def _given(**options: Any) -> Row:
    """The options that were given; an empty one too, so that an unset variable of a shell is an
    error and not the default."""
    return {name: value for name, value in options.items() if value is not None}


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    provider: Annotated[Provider, typer.Option(help="Its cloud.")] = Provider.AWS,
    uid: Annotated[
        str | None, typer.Option(help="Account, subscription or project id; else learned.")
    ] = None,
    profile: Profile = None,
    role_arn: RoleArn = None,
    external_id: ExternalId = None,
    credentials_file: CredentialsFile = None,
    azure_cli: AzureCli = False,
    managed_identity: ManagedIdentity = False,
    service_account: ServiceAccount = None,
    kube_context: KubeContext = None,
    regions: Regions = None,
    endpoint_url: Endpoint = None,
    as_json: AsJson = False,
) -> None:
    """Add an account to scan.

    Without an option for credentials the worker's own environment is used. No secret is stored:
    each option names where the workers find one.
    """
    credentials = credentials_of(
        profile=profile,
        role_arn=role_arn,
        external_id=external_id,
        file=credentials_file,
        azure_cli=azure_cli,
        managed_identity=managed_identity,
        service_account=service_account,
        kube_context=kube_context,
    )
    body: Row = {
        "name": name,
        "provider": provider.value,
        "credentials": credentials or {"kind": "environment"},
    }
    body |= _given(uid=uid, regions=list_of(regions), endpoint_url=endpoint_url)
    with connected() as api:
        account = api.post("accounts", body)
    show(account, as_json, _details(account))
    if not as_json:
        say(f"Next: cloudsweep account check {name}")


@app.command("list")
def list_(
    provider: Annotated[list[Provider] | None, typer.Option(help="Only these clouds.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: AsJson = False,
) -> None:
    """List accounts."""
    parameters = {"provider": [one.value for one in provider or ()], "enabled": enabled}
    with connected() as api:
        page = api.page("accounts", parameters, limit, cursor)
    rows = table("ID", "*NAME", "STATE", "CLOUD", "UID", "*REGIONS", "CREDENTIALS", ">AGE")
    for account in page["items"]:
        style = None if account["enabled"] else "dim strike"
        rows.add_row(
            short(account["id"]),
            cell(account["name"], style),
            cell("on" if account["enabled"] else "off"),
            cell(account["provider"]),
            cell(account["uid"]),
            cell(", ".join(account["regions"] or ["all"])),
            cell(account["credentials"]["kind"]),
            age(account["created_at"]),
        )
    show_page(page, as_json, rows, "No accounts. Add one: cloudsweep account add NAME")


@app.command("show")
def show_(account: Which, as_json: AsJson = False) -> None:
    """Show an account."""
    with connected() as api:
        document = api.get(f"accounts/{find(api, account)}")
    show(document, as_json, _details(document))


@app.command("check")
def check(account: Which, as_json: AsJson = False) -> None:
    """Check credentials: who we are, or what is missing."""
    with connected() as api:
        answer = api.post(f"accounts/{find(api, account)}/check")
    if not answer["ok"]:
        if as_json:
            show(answer, as_json)
            raise typer.Exit(FAILED)
        raise Failure(answer["error"] or "The check failed.", fix=answer["fix"])
    identity = answer["identity"] or {}
    show(
        answer,
        as_json,
        fields(
            [
                ("Credentials", cell("accepted", "green")),
                ("Account", identity.get("account_uid")),
                ("Principal", identity.get("principal")),
                ("Regions", ", ".join(identity.get("regions") or []) or None),
            ]
        ),
    )


@app.command("change")
def change(
    account: Which,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    environment: Annotated[
        bool, typer.Option("--environment", help="Use the worker's own environment.")
    ] = False,
    profile: Profile = None,
    role_arn: RoleArn = None,
    external_id: ExternalId = None,
    credentials_file: CredentialsFile = None,
    azure_cli: AzureCli = False,
    managed_identity: ManagedIdentity = False,
    service_account: ServiceAccount = None,
    kube_context: KubeContext = None,
    regions: Regions = None,
    all_regions: Annotated[
        bool, typer.Option("--all-regions", help="Scan all enabled regions again.")
    ] = False,
    endpoint_url: Endpoint = None,
    no_endpoint_url: Annotated[
        bool, typer.Option("--no-endpoint-url", help="Use the real cloud again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Change an account; what is not named stays as it is."""
    credentials = _one_of(
        credentials_of(
            profile=profile,
            role_arn=role_arn,
            external_id=external_id,
            file=credentials_file,
            azure_cli=azure_cli,
            managed_identity=managed_identity,
            service_account=service_account,
            kube_context=kube_context,
        ),
        {"kind": "environment"} if environment else None,
    )
    for option, value, cleared in (
        ("regions", regions, all_regions and "--all-regions"),
        ("endpoint-url", endpoint_url, no_endpoint_url and "--no-endpoint-url"),
    ):
        if value is not None and cleared:
            raise Failure(f"--{option} and {cleared} do not go together.", code=WRONG_USAGE)
    body = _given(
        name=name, credentials=credentials, regions=list_of(regions), endpoint_url=endpoint_url
    )
    body |= {"regions": None} if all_regions else {}
    body |= {"endpoint_url": None} if no_endpoint_url else {}
    if not body:
        raise Failure("Name what to change.", fix="See --help.", code=WRONG_USAGE)
    _patch(account, body, as_json)


@app.command("enable")
def enable(account: Which, as_json: AsJson = False) -> None:
    """Let an account be scanned again."""
    _patch(account, {"enabled": True}, as_json)


@app.command("disable")
def disable(account: Which, as_json: AsJson = False) -> None:
    """Take no new scans of an account; its findings stay."""
    _patch(account, {"enabled": False}, as_json)


@app.command("remove")
def remove(
    account: Which,
    yes: removal.Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove an account with its scans, findings and resources."""
    with connected() as api:
        removal.remove(
            api,
            f"accounts/{find(api, account)}",
            yes=yes,
            as_json=as_json,
            along=" with all its scans and findings",
        )


def _patch(account: str, body: Row, as_json: bool) -> None:
    with connected() as api:
        document = api.patch(f"accounts/{find(api, account)}", body)
    show(document, as_json, _details(document))


def _details(account: Row) -> Any:
    credentials = dict(account["credentials"])
    kind = credentials.pop("kind")
    source = credentials.pop("source", None)
    words = [kind, *(f"{name}={value}" for name, value in credentials.items() if value)]
    if source:
        words.append("from " + " ".join(str(value) for value in source.values()))
    return fields(
        [
            ("Name", account["name"]),
            ("Id", account["id"]),
            ("Cloud", account["provider"]),
            ("Account", account["uid"] or "learned at the first check"),
            ("Credentials", " ".join(words)),
            ("Regions", ", ".join(account["regions"] or ["all enabled ones"])),
            ("Endpoint", account["endpoint_url"]),
            ("Home region", account["home_region"]),
            ("Enabled", "yes" if account["enabled"] else "no"),
            ("Added", f"{account['created_at']} ({age(account['created_at'])} ago)"),
        ]
    )
