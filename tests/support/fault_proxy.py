"""A reverse proxy in front of an AWS-compatible endpoint that misbehaves on request.

    with FaultProxy("http://127.0.0.1:5000") as proxy:
        proxy.deny("s3", region="eu-west-1")
        ...                      # point AWS_ENDPOINT_URL at proxy.url
        proxy.counts[("s3", "ListBuckets")]

It runs in a thread of its own, so that tests may block. Every method may be called from any
thread and takes effect on the next request. The `Host` header passes unchanged: urls that the
endpoint makes from it (SQS queues) lead through the proxy too.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.support.aws_wire import (
    AwsCall,
    Refusal,
    access_denied,
    identify,
    signing_name,
    throttled,
)

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})
_HEAD_LIMIT = 256 * 1024


class _Rule(NamedTuple):
    """What happens to the calls it matches; None matches everything."""

    action: str  # deny | throttle | hang
    service: str | None
    region: str | None
    operation: str | None
    fraction: float = 1.0
    seed: int = 0

    def matches(self, call: AwsCall) -> bool:
        return (
            self.service in (None, call.service)
            and self.region in (None, call.region)
            and self.operation in (None, call.operation)
        )


class _Message(NamedTuple):
    """A request or a response, body complete."""

    first_line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((v for k, v in self.headers if k.lower() == name), "")


class FaultProxy:
    """Forwards everything to `upstream` until told otherwise. A context manager."""

    def __init__(self, upstream: str, *, port: int = 0) -> None:
        address = urlsplit(upstream)
        self._upstream = (address.hostname or "127.0.0.1", address.port or 80)
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._latency = 0.0
        self._calls_to_live: int | None = None
        self._seen: Counter[bytes] = Counter()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._refused: Counter[tuple[str, str]] = Counter()
        self._port = port
        self._listener: socket.socket | None = None
        self._connections: dict[asyncio.Task[None], socket.socket] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")

    # ---- control: from any thread ----

    @property
    def url(self) -> str:
        """Where clients find the proxy; the port stays the same when it dies and revives."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """Requests received, by (signing name, operation), refused ones included."""
        with self._lock:
            return self._counts.copy()

    @property
    def refused(self) -> Counter[tuple[str, str]]:
        """Requests that a rule answered or held, by (signing name, operation)."""
        with self._lock:
            return self._refused.copy()

    def deny(
        self, service: str | None, *, region: str | None = None, operation: str | None = None
    ) -> None:
        """Answer the matching calls as AWS does when no policy allows them."""
        self._add(_Rule("deny", _signing(service), region, operation))

    def throttle(
        self,
        fraction: float = 1.0,
        *,
        seed: int = 0,
        service: str | None = None,
        region: str | None = None,
        operation: str | None = None,
    ) -> None:
        """Answer that share of the matching calls with the service's throttling error.

        Which ones follows from the seed, the call itself and how often it was made before:
        neither from the order in which calls arrive nor from the time.
        """
        self._add(_Rule("throttle", _signing(service), region, operation, fraction, seed))

    def hang(
        self,
        service: str | None = None,
        *,
        region: str | None = None,
        operation: str | None = None,
    ) -> None:
        """Accept the matching calls and never answer, until `clear` or the end closes them."""
        self._add(_Rule("hang", _signing(service), region, operation))

    def delay(self, seconds: float) -> None:
        """Wait that long before every request is forwarded."""
        with self._lock:
            self._latency = seconds

    def die_after(self, calls: int) -> None:
        """Forward that many more calls; then reset all connections and refuse new ones."""
        with self._lock:
            self._calls_to_live = calls
        if calls <= 0:
            self.die()

    def die(self) -> None:
        """Reset every connection and refuse new ones until `revive`."""
        self._run(self._die)

    def revive(self) -> None:
        """Listen again on the same port; rules stay."""
        with self._lock:
            self._calls_to_live = None
        self._run(self._listen)

    def clear(self) -> None:
        """Forget all rules, delay and deaths to come, and close what hangs; counts stay."""
        with self._lock:
            self._rules, self._latency, self._calls_to_live = [], 0.0, None
            self._seen.clear()
        self._run(self._close_connections)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._die)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _run(self, step: Callable[[], object]) -> None:
        """Run `step` in the proxy's loop and wait for it."""
        done: Future[None] = Future()

        async def run() -> None:
            result = step()
            if asyncio.iscoroutine(result):
                await result

        def start() -> None:
            task = self._loop.create_task(run())
            task.add_done_callback(
                lambda t: done.set_exception(e) if (e := t.exception()) else done.set_result(None)
            )

        self._loop.call_soon_threadsafe(start)
        done.result()

    # ---- inside the loop ----

    def _listen(self) -> None:
        if self._listener is not None:
            return
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(100)
        listener.setblocking(False)
        self._port = listener.getsockname()[1]
        self._listener = listener
        # Not asyncio's server: closed between accepting a connection and serving it, it loses it.
        self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return  # the client was faster away
        task = self._loop.create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()  # also when it was cancelled before its first step

    async def _die(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._close_connections()

    async def _close_connections(self) -> None:
        """Reset every connection; all of them are closed when this returns but the caller's own."""
        for connection in self._connections.values():
            # Linger of zero turns the close into a reset, as a crashed endpoint's kernel sends.
            with contextlib.suppress(OSError):
                connection.setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
                )
        for writer in self._writers:
            writer.transport.abort()
        tasks = [task for task in self._connections if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=_HEAD_LIMIT)
            async with self._closing(writer):
                self._writers.add(writer)
                await self._answer_all(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # either side went away, or the test closed us: nothing is left to answer

    @contextlib.asynccontextmanager
    async def _closing(self, writer: asyncio.StreamWriter) -> AsyncIterator[None]:
        """Closed for good at the end, not at some later turn of a loop that may stop before."""
        try:
            yield
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await _read_request(reader, writer):
            method, target = request.first_line.split(" ")[:2]
            headers = {k.lower(): v for k, v in request.headers}
            call = identify(method, target, headers, request.body)
            if await self._may_pass(call, request, writer):
                _write_message(writer, await self._forward(request))
                await writer.drain()

    async def _may_pass(
        self, call: AwsCall | None, request: _Message, writer: asyncio.StreamWriter
    ) -> bool:
        """Apply the rules; False when the request was answered here."""
        with self._lock:
            latency = self._latency
            rule = None
            dead = False
            if call is not None:
                key = (call.service, call.operation)
                self._counts[key] += 1
                rule = next(
                    (r for r in self._rules if r.matches(call) and self._hits(r, request)), None
                )
                if rule is not None:
                    self._refused[key] += 1
                if self._calls_to_live is not None:
                    dead = self._calls_to_live <= 0
                    self._calls_to_live -= 1
        if dead:
            await self._die()
            raise EOFError
        if latency:
            await asyncio.sleep(latency)
        if rule is None or call is None:
            return True
        if rule.action == "hang":
            await asyncio.Event().wait()
        _write_refusal(writer, access_denied(call) if rule.action == "deny" else throttled(call))
        await writer.drain()
        return False

    def _hits(self, rule: _Rule, request: _Message) -> bool:
        if rule.fraction >= 1:
            return True
        scope = request.header("authorization").partition("/")[2].partition(",")[0][8:]
        target = request.header("x-amz-target")
        identity = f"{rule.seed} {scope} {target} {request.first_line}".encode() + request.body
        self._seen[identity] += 1
        drawn = hashlib.sha256(identity + str(self._seen[identity]).encode()).digest()
        return int.from_bytes(drawn[:8], "big") < rule.fraction * 2**64

    async def _forward(self, request: _Message) -> _Message:
        reader, writer = await asyncio.open_connection(*self._upstream, limit=_HEAD_LIMIT)
        async with self._closing(writer):
            self._writers.add(writer)
            _write_message(writer, request)
            await writer.drain()
            return await _read_response(reader, request.first_line.startswith("HEAD "))


def _signing(service: str | None) -> str | None:
    return None if service is None else signing_name(service)


async def _read_request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> _Message | None:
    """Read one request; None when the client closed the connection between two."""
    try:
        head = await _read_head(reader)
    except asyncio.IncompleteReadError:
        return None
    if head.header("expect").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return head._replace(body=await _read_body(reader, head) or b"")


async def _read_response(reader: asyncio.StreamReader, to_head: bool) -> _Message:
    head = await _read_head(reader)
    if to_head or head.first_line.split(" ")[1] in ("204", "304"):
        return head
    body = await _read_body(reader, head)
    return head._replace(body=await reader.read() if body is None else body)


async def _read_head(reader: asyncio.StreamReader) -> _Message:
    head = await reader.readuntil(b"\r\n\r\n")
    first_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    return _Message(
        first_line, [(k, v.strip()) for k, _, v in (line.partition(":") for line in lines)], b""
    )


async def _read_body(reader: asyncio.StreamReader, head: _Message) -> bytes | None:
    """The body as its framing says; None when nothing does."""
    if "chunked" in head.header("transfer-encoding").lower():
        return await _read_chunks(reader)
    if length := head.header("content-length"):
        return await reader.readexactly(int(length))
    return None


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    with contextlib.suppress(asyncio.IncompleteReadError):
        while (await reader.readline()).strip():
            pass  # trailers
    return body


def _write_message(writer: asyncio.StreamWriter, message: _Message) -> None:
    chunked = "chunked" in message.header("transfer-encoding").lower()
    kept = [(k, v) for k, v in message.headers if k.lower() not in _HOP_BY_HOP]
    if chunked:
        kept.append(("content-length", str(len(message.body))))
    lines = [message.first_line, *(f"{k}: {v}" for k, v in kept), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1") + message.body)


def _write_refusal(writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    headers = {**refusal.headers, "content-length": str(len(refusal.body))}
    lines = [f"HTTP/1.1 {refusal.status} Refused", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + refusal.body)
