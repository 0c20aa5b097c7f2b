"""How the API describes itself: /openapi.json, and the pages that show it without a network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles

from api.problems import ProblemDetails
from api.routes import BASE

ASSETS: Final = "/docs/assets"

DESCRIPTION: Final = """\
**Begin**: add an account (`POST /accounts`), check its credentials (`POST /accounts/{id}/check`),
start a scan (`POST /scans`), follow it (`GET /scans/{id}/events`), read its findings
(`GET /findings?status=fail`). To scan regularly, preview a schedule (`POST /schedules/preview`),
create it (`POST /schedules`), and see what became of its times (`GET /schedules/{id}/runs`).

**Keys**: every call but `/healthz`, `/readyz` and this description needs the header
`Authorization: Bearer <key>`. A key belongs to a team, sees only its rows, and has a role: a
`viewer` reads, an `operator` also adds accounts and targets, runs scans and jobs, keeps schedules
and tracked items, decides about vulnerabilities and mutes findings, an `admin` also removes
accounts and schedules, approves scopes of targets, keeps rules of cascades, sets due dates, decides
how long what is over is kept, and makes keys.

**Lists** answer `{"items": [...], "next_cursor": "..." | null}`; send `next_cursor` as `cursor` for
the next page. **Filters** take comma lists: `?severity=critical,high`. Unknown parameters and
fields are refused. **Times** are RFC 3339 in UTC, **ids** are UUIDs.

**Errors** are RFC 9457 `application/problem+json`: `detail` says what is wrong, `fix` what to do,
`errors` names each wrong field, `code` is for machines. 503 comes with `Retry-After`.
"""

TAGS: Final = [
    {"name": "accounts", "description": "What to scan, and how to get in; never a secret."},
    {"name": "scans", "description": "Start, follow, pause, resume, cancel."},
    {"name": "imports", "description": "Findings that were made elsewhere."},
    {"name": "schedules", "description": "Scans and jobs that recur, or run once at a time."},
    {"name": "jobs", "description": "What can recur, and running it now."},
    {"name": "runs", "description": "Every time that a job was due, and what became of it."},
    {"name": "tracked items", "description": "What expires one day; schedules act before it does."},
    {"name": "findings", "description": "What the scans found, in its current state."},
    {"name": "vulnerabilities", "description": "What people work on, made of the findings."},
    {"name": "mute rules", "description": "Findings that nobody has to act on, and why."},
    {"name": "sla", "description": "When vulnerabilities are due, and what people were told."},
    {"name": "retention", "description": "How long what is over is kept, and legal holds."},
    {"name": "targets", "description": "What native scans look at: hosts, networks, images, …"},
    {"name": "scopes", "description": "What a team may scan, by whose approval, until when."},
    {"name": "assets", "description": "What is exposed, what is known and what is not."},
    {"name": "scan policies", "description": "How hard native scans may work."},
    {"name": "resources", "description": "The inventory."},
    {"name": "checks", "description": "What is looked for, and how to fix it."},
    {"name": "cascades", "description": "Rules that start a scan from what another found."},
    {"name": "scanners", "description": "What this machine can scan with."},
    {"name": "keys", "description": "Who may call this API."},
    {"name": "health", "description": "For probes and Prometheus."},
]

METHODS: Final = ("get", "post", "put", "patch", "delete")


def operation_id(route: APIRoute) -> str:
    """The function's name: stable, unique, and what generated clients call their methods."""
    return route.name


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        schemas = document["components"]["schemas"]
        schemas["ProblemDetails"] = _problem_schema(schemas)
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for operation in _operations(document):
            _tell_role(operation)
            _write_lists_with_commas(operation)
            _describe_events(operation)
        app.openapi_schema = _with_readable_names(document)
    return app.openapi_schema


def _problem_schema(schemas: dict[str, Any]) -> dict[str, Any]:
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    return schema


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        for method in METHODS:
            if method in path:
                yield path[method]


def _tell_role(operation: dict[str, Any]) -> None:
    for scheme in operation.get("security", ()):
        for role in scheme.get("key", ()):
            operation["description"] = f"{operation.get('description', '')}\n\nRole: **{role}**."


def _write_lists_with_commas(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        schema = parameter.get("schema", {})
        kinds = [schema, *schema.get("anyOf", ())]
        if parameter["in"] == "query" and any(kind.get("type") == "array" for kind in kinds):
            parameter |= {"style": "form", "explode": False}


def _describe_events(operation: dict[str, Any]) -> None:
    # FastAPI writes `itemSchema`, a word of OpenAPI 3.2, into a document of 3.1.
    events = operation["responses"].get("200", {}).get("content", {}).get("text/event-stream")
    if events:
        events.pop("itemSchema", None)
        events["schema"] = {"type": "string"}
        events["example"] = 'event: scan\ndata: {"id": "…", "status": "running", …}\n\n'


def _with_readable_names(document: dict[str, Any]) -> dict[str, Any]:
    """`FindingPage` for `Page_Finding_`."""
    names = {
        name: f"{name.removeprefix('Page_').rstrip('_')}Page"
        for name in document["components"]["schemas"]
        if name.startswith("Page_")
    }

    def renamed(part: Any) -> Any:
        if isinstance(part, dict):
            return {names.get(key, key): renamed(value) for key, value in part.items()}
        if isinstance(part, list):
            return [renamed(value) for value in part]
        if isinstance(part, str) and part.startswith("#/components/schemas/"):
            prefix, _, name = part.rpartition("/")
            return f"{prefix}/{names.get(name, name)}"
        return part

    named: dict[str, Any] = renamed(document)
    for name in names.values():
        named["components"]["schemas"][name]["title"] = name
    return named


def add_pages(app: FastAPI) -> None:
    """/docs and /redoc, with their scripts from this process: they work without a network."""
    assets = Path(str(files("fastapi_offline") / "static"))
    app.mount(ASSETS, StaticFiles(directory=assets), name="assets")

    @app.get(f"{BASE}/openapi.json", include_in_schema=False)
    async def show_description() -> dict[str, Any]:
        return describe(app)

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
            swagger_ui_parameters={
                "persistAuthorization": True,
                "displayRequestDuration": True,
                "defaultModelsExpandDepth": 0,
                "tryItOutEnabled": True,
            },
        )

    @app.get("/redoc", include_in_schema=False)
    async def show_redoc() -> HTMLResponse:
        return get_redoc_html(
            openapi_url="/openapi.json",
            title=app.title,
            redoc_js_url=f"{ASSETS}/redoc.standalone.js",
            redoc_favicon_url=f"{ASSETS}/favicon.png",
            with_google_fonts=False,
        )
