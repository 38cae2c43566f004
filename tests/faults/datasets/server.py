"""A file server that misbehaves in the way it is told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server holds and how it fails."""

    content: bytes
    ranges: bool = True
    """Whether a Range header is honoured."""
    cut_after: list[int] = field(default_factory=list)
    """For each connection in turn: bytes after which it is cut; then none is."""
    status: list[int] = field(default_factory=list)
    """For each connection in turn: an error to answer with; then none is."""
    asked: list[str] = field(default_factory=list)
    """Range header of each connection."""


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve on a free local port; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            behaviour.asked.append(wanted)
            if behaviour.status:
                self.send_error(behaviour.status.pop(0))
                return
            start = 0
            if wanted and behaviour.ranges:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(behaviour.content):
                    self.send_error(416)
                    return
                self.send_response(206)
            else:
                self.send_response(200)
            body = behaviour.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.cut_after:
                body = body[: behaviour.cut_after.pop(0)]
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.bin"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
