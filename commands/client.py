"""The API as the commands call it: where it is, and what its problems mean to a shell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    import httpx

DONE: Final = 0
FAILED: Final = 1
WRONG_USAGE: Final = 2
UNREACHABLE: Final = 3

PAGE: Final = 500
STREAM_SECONDS: Final = 300.0
"""Between two pieces of a long body, and for the answer once all of it is sent."""
LOOK_AT: Final = 10_000
"""Rows that are searched for a part of an id before the whole id is asked for."""

Row = dict[str, Any]


class Failure(Exception):
    """Why a command ends without having done its work: what people read, and the exit code."""

    def __init__(
        self,
        message: str,
        *,
        fix: str | None = None,
        code: int = FAILED,
        problem: Row | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code
        self.problem = problem or {"detail": message, "fix": fix}


class Api:
    """One server and one key; every failure is a `Failure` that names the fix."""

    def __init__(self, url: str, key: str) -> None:
        import httpx

        self.url = url.rstrip("/").removesuffix("/api/v1")  # as `cloudsweep up` shows it
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}/api/v1/",
                headers={"Authorization": f"Bearer {key}"},
                timeout=httpx.Timeout(60, connect=5),
            )
        except httpx.InvalidURL as error:
            raise _no_address(url) from error

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, Any] | None = None) -> Row:
        """GET one document."""
        return self._call("GET", path, params=_present(parameters or {}))

    def readiness(self) -> Row:
        """How the dependencies are, also when the answer is that nothing works."""
        return self._call("GET", "readyz", also="dependencies")

    def post(
        self, path: str, body: Row | None = None, headers: dict[str, str] | None = None
    ) -> Row:
        """POST a document, or nothing."""
        return self._call("POST", path, json=body, headers=headers)

    def patch(self, path: str, body: Row) -> Row:
        """PATCH the fields of a document."""
        return self._call("PATCH", path, json=body)

    def put(self, path: str, body: Row) -> Row:
        """PUT a whole document."""
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> Row:
        """DELETE a document."""
        return self._call("DELETE", path)

    def upload(
        self, path: str, parameters: Mapping[str, Any], chunks: Iterator[bytes]
    ) -> tuple[int, Row]:
        """POST a stream of bytes of any length; the status and the document of the answer."""
        with self._reached():
            response = self._http.post(
                path,
                params=_present(parameters),
                content=chunks,
                headers={"Content-Type": "application/octet-stream"},
                timeout=STREAM_SECONDS,
            )
        return response.status_code, _document(response)

    def download(self, path: str, parameters: Mapping[str, Any]) -> Iterator[bytes]:
        """GET a body of any length, piece by piece."""
        with (
            self._reached(),
            self._http.stream(
                "GET", path, params=_present(parameters), timeout=STREAM_SECONDS
            ) as response,
        ):
            if not response.is_success:
                response.read()
                _document(response)
            yield from response.iter_bytes()

    def page(
        self, path: str, parameters: Mapping[str, Any], limit: int, cursor: str | None = None
    ) -> Row:
        """Up to `limit` rows, over as many pages as that takes."""
        items: list[Row] = []
        while True:
            size = min(PAGE, limit - len(items))
            answer = self.get(path, {**parameters, "limit": size, "cursor": cursor})
            items += answer["items"]
            cursor = answer["next_cursor"]
            if cursor is None or len(items) >= limit:
                return {"items": items, "next_cursor": cursor}

    def resolve(self, path: str, text: str, noun: str, *filters: Row) -> str:
        """The id that `text` means: a whole id, a part of one, or a row's name or value."""
        try:
            return str(UUID(text))
        except ValueError:
            pass
        part = text.lower().lstrip("…")
        found: dict[str, Row] = {}
        for parameters in filters or ({},):
            named: dict[str, Row] = {}
            for row in self._rows(path, parameters):
                identity = row["id"]
                if text in (row.get("name"), row.get("value")):
                    named[identity] = row
                elif len(part) >= 4 and (identity.startswith(part) or identity.endswith(part)):
                    found[identity] = row
            # Keys, and items of several kinds, may share a name; a revoked key is in nobody's way.
            in_use = {i: row for i, row in named.items() if not row.get("revoked_at")}
            found = in_use or named or found
            if found:
                break
        if len(found) == 1:
            return next(iter(found))
        if found:
            raise Failure(
                f"`{text}` means {len(found)} {noun}s: {', '.join(list(found)[:5])}.",
                fix="Give the id, or more of it.",
                code=WRONG_USAGE,
            )
        raise Failure(
            f"There is no {noun} `{text}`.",
            fix=f"`cloudsweep {noun} list` shows them; --json shows whole ids.",
            code=WRONG_USAGE,
        )

    def _rows(self, path: str, parameters: Row) -> Iterator[Row]:
        seen, cursor = 0, None
        while seen < LOOK_AT:
            answer = self.get(path, {**parameters, "limit": PAGE, "cursor": cursor})
            yield from answer["items"]
            seen += len(answer["items"])
            cursor = answer["next_cursor"]
            if cursor is None:
                return

    def _call(self, method: str, path: str, *, also: str | None = None, **options: Any) -> Row:
        """`also`: a 503 that says this is an answer, too."""
        with self._reached():
            response = self._http.request(method, path, **options)
        return _document(response, also)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        import httpx

        try:
            yield
        except httpx.TimeoutException as error:
            raise self._unreachable("did not answer in time") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable("cannot be reached") from error

    def _unreachable(self, words: str) -> Failure:
        return Failure(
            f"Cloudsweep at {self.url} {words}.",
            fix="Start it with `cloudsweep up`, or set CLOUDSWEEP_API_URL.",
            code=UNREACHABLE,
        )


def _present(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Query parameters as the API takes them: lists with commas, nothing that was left out."""
    return {
        name: ",".join(map(str, value))
        if isinstance(value, list | tuple)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in parameters.items()
        if value is not None and value != []
    }


def _document(response: httpx.Response, also: str | None = None) -> Row:
    try:
        document = response.json() if response.content else {}
    except ValueError:
        document = None
    if isinstance(document, dict) and (response.is_success or also in document):
        return document
    if not isinstance(document, dict) or "detail" not in document:
        raise Failure(
            f"What answers at {response.url} is not Cloudsweep (HTTP {response.status_code}).",
            fix="Check CLOUDSWEEP_API_URL, and proxies on the way.",
            code=UNREACHABLE,
        )
    raise Failure(
        document["detail"],
        fix=document.get("fix"),
        code=_exit_code(response.status_code),
        problem=document,
    )


def _exit_code(status: int) -> int:
    if status == 503:
        return UNREACHABLE
    return FAILED if status == 409 or status >= 500 else WRONG_USAGE


@contextmanager
def connected() -> Iterator[Api]:
    """The server that CLOUDSWEEP_API_URL and CLOUDSWEEP_API_KEY name, else the one whose data
    directory is here."""
    url, key = find_server()
    api = Api(url, key)
    try:
        yield api
    finally:
        api.close()


def find_server() -> tuple[str, str]:
    """URL and key; raises a Failure that says what to set."""
    from runtime.settings import get_settings

    settings = get_settings()
    url = settings.api_url or _url_of_stack(settings.data_dir / "stack.json")
    url = url or f"http://{settings.api_host}:{settings.api_port}"
    if not url.startswith(("http://", "https://")):
        raise _no_address(url)
    if settings.api_key is not None:
        return url, _key(settings.api_key.get_secret_value().strip(), "CLOUDSWEEP_API_KEY")
    path = settings.data_dir / "admin.key"
    try:
        return url, _key(path.read_text(errors="replace").strip(), str(path))
    except FileNotFoundError as error:
        raise Failure(
            f"There is no key: CLOUDSWEEP_API_KEY is not set and {path} does not exist.",
            fix="Start a stack here with `cloudsweep up`, or set CLOUDSWEEP_API_URL and "
            "CLOUDSWEEP_API_KEY.",
            code=UNREACHABLE,
        ) from error
    except OSError as error:
        raise Failure(
            f"The key in {path} cannot be read: {error.strerror}.",
            fix="Run as the user who started the stack, or set CLOUDSWEEP_API_KEY.",
            code=WRONG_USAGE,
        ) from error


def _key(text: str, place: str) -> str:
    """What is in one line of ASCII; anything else could not even be sent."""
    if text and text.isascii() and text.isprintable():
        return text
    raise Failure(
        f"What {place} holds is not a key.",
        fix="A key begins with csk_; an admin makes one with `cloudsweep key create NAME`.",
        code=WRONG_USAGE,
    )


def _no_address(url: str) -> Failure:
    return Failure(
        f"CLOUDSWEEP_API_URL is not an address: `{url}`.",
        fix="Write it like http://127.0.0.1:8080.",
        code=WRONG_USAGE,
    )


def _url_of_stack(path: Path) -> str | None:
    try:
        stack = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    url = stack.get("api_url") if isinstance(stack, dict) else None
    return url if isinstance(url, str) else None
