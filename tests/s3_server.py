"""A server of the S3 protocol on loopback: lists and reads what a dictionary holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

BUCKET = "bucket"


class S3Server(ThreadingHTTPServer):
    """Objects by their keys; `forbidden` keys answer 403; `cuts` reads end after 100 bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.forbidden: set[str] = set()
        self.cuts = 0

    def address(self, key: str, store: str = f"s3://{BUCKET}") -> str:
        """Return the address of a key, or of a pattern of keys."""
        port = self.server_address[1]
        options = f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1"
        return f"{store}/{key}?{options}"


@contextmanager
def serve() -> Iterator[S3Server]:
    """Start a server on a thread."""
    with S3Server() as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: S3Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: TCP delays the second of two

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if bucket != BUCKET:
            self._refuse(404, "NoSuchBucket")
        elif not key:
            self._list({name: values[0] for name, values in parse_qs(url.query).items()})
        elif key in self.server.forbidden:
            self._refuse(403, "AccessDenied")
        elif key not in self.server.objects:
            self._refuse(404, "NoSuchKey")
        else:
            self._read(self.server.objects[key])

    def _read(self, content: bytes) -> None:
        asked = self.headers.get("Range")
        start, stop, size = 0, len(content), len(content)
        if asked:
            first, last = asked.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1, size)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if asked else {}
        self._answer(206 if asked else 200, content[start:stop], headers)

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        keys, folders = [], set()
        for key in sorted(self.server.objects):
            head, found, _ = key[len(prefix) :].partition(delimiter or "\0")
            if key.startswith(prefix) and found:
                folders.add(prefix + head + found)
            elif key.startswith(prefix):
                keys.append(key)
        encode = quote if query.get("encoding-type") == "url" else escape
        rows = "".join(
            f"<Contents><Key>{encode(key)}</Key><Size>{len(self.server.objects[key])}</Size>"
            "<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents>"
            for key in keys[: int(query.get("max-keys", 1000))]
        ) + "".join(
            f"<CommonPrefixes><Prefix>{encode(folder)}</Prefix></CommonPrefixes>"
            for folder in sorted(folders)
        )
        count = f"<KeyCount>{len(keys) + len(folders)}</KeyCount><IsTruncated>false</IsTruncated>"
        self._answer(200, f"<ListBucketResult>{count}{rows}</ListBucketResult>".encode())

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", formatdate(0, usegmt=True))
        self.send_header("ETag", '"1"')
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cuts and len(body) > 100 and status in (200, 206):
            self.server.cuts -= 1
            self.close_connection = True
            body = body[:100]
        self.wfile.write(body)
