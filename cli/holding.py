"""What the page's address answers while the page is being loaded: that SAFE is starting.

Loading takes seconds on a busy machine or from a cold disk. A browser that comes earlier waits here, and is shown the
page as soon as it is there.
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
  }} catch {{ /* nobody listens for a moment, while the page takes over */ }}
}}, 250);
</script></body></html>
""".encode()


class _Holding(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header(MARK, "1")
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_) -> None:
        """Nothing on the terminal."""


@contextlib.contextmanager
def held(host: str, port: int) -> Iterator[Callable[[], None]]:
    """Answer on an address; what is yielded, called at any time, ends that and frees the address, as the end does.

    Where it cannot be had, nothing is answered: the page itself will say why.
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
