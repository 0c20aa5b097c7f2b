"""Servers on the loopback address for network scanners: plain HTTP, sound TLS and weak TLS.

A process of its own: scanners break off handshakes, and what Python warns of then is no test's.
"""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.support.ports import free_ports

ADDRESS = "127.0.0.1"
HOSTILE = "\x1b[2J\x1b]0;owned\x07$(touch /tmp/owned)"
"""A page title that would clear a terminal and give it a new name."""


class Endpoints(NamedTuple):
    """The ports of the servers, and one that nobody listens on."""

    http: int
    tls: int
    weak_tls: int
    closed: int


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def do_GET(self) -> None:
        """One page, the same for every path."""
        body = f"<html><title>{HOSTILE}</title></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Server(ThreadingHTTPServer):
    context: ssl.SSLContext | None = None
    daemon_threads = True
    request_queue_size = 128

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake in the connection's own thread: a scanner that stalls stops nobody else."""
        if self.context is None:
            super().finish_request(request, client_address)
            return
        request.settimeout(10)
        with self.context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Scanners break connections off all the time."""


@contextmanager
def serving(directory: Path) -> Iterator[Endpoints]:
    """The three servers, until the end of the block; keys and certificates lie in `directory`."""
    *listening, closed = free_ports(4)
    command = [sys.executable, __file__, str(directory), *map(str, listening)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=_environment()) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield Endpoints(*listening, closed)
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONWARNINGS": "ignore"}


def _serve(directory: Path, http: int, tls: int, weak_tls: int) -> None:
    strong = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    strong.load_cert_chain(_certificate(directory, "sound.example", 2048))
    weak = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    weak.minimum_version = ssl.TLSVersion.TLSv1
    weak.set_ciphers("ALL:@SECLEVEL=0")  # the weakest that this OpenSSL still offers
    weak.load_cert_chain(_certificate(directory, "weak.example", 1024))
    for port, context in ((http, None), (tls, strong), (weak_tls, weak)):
        server = _Server((ADDRESS, port), _Page)
        server.context = context
        threading.Thread(target=server.serve_forever).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _certificate(directory: Path, name: str, bits: int) -> Path:
    """A self-signed certificate and its key in one file."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), *map(int, sys.argv[2:]))
