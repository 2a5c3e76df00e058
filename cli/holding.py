"""A placeholder at the page's address while the page is loading: "SAFE is starting".

Loading takes seconds on a busy machine or from a cold disk. A browser that connects earlier waits here and reloads as
soon as the page is ready.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MARK = "X-SAFE-Starting"
PAGE = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SAFE is starting</title>
<style>body {{ font: 16px system-ui, sans-serif; color-scheme: light dark; margin: 18vh auto; max-width: 30em }}
h1 {{ letter-spacing: .06em; color: #0f766e }}</style></head>
<body><h1>SAFE</h1><p role="status">is starting …</p><script>
setInterval(async () => {{
  try {{
    const answer = await fetch("/", {{ cache: "no-store" }});
    if (!answer.headers.has("{MARK}")) location.reload();
  }} catch {{ /* the page is taking over the port */ }}
}}, 250);
</script></body></html>
""".encode()


class _Holding(BaseHTTPRequestHandler):
    """Answers every request with `PAGE`."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header(MARK, "1")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        """Log nothing on the terminal."""


@contextlib.contextmanager
def held(host: str, port: int) -> Iterator[Callable[[], None]]:
    """Serve the placeholder at an address until the block ends, or until the function that is yielded is called.

    If the address is not available, nothing is served: the page itself will report why.
    """
    try:
        server = ThreadingHTTPServer((host, port), _Holding)
    except (OSError, OverflowError):
        yield lambda: None
        return
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def free() -> None:
        server.shutdown()
        server.server_close()

    try:
        yield free
    finally:
        free()
