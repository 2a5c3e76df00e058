"""Requests that Gradio cannot read are refused, and are no defects.

Gradio takes some of what is sent as it is: a number of a handler that does not exist, a name that no file system
takes, a byte that its own refusal cannot repeat. It fails there, before anything of SAFE's is called.
"""

import errno
import traceback
from dataclasses import dataclass

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from safe_dnn.page.serving.below import at_start

_OURS = f"{__name__.partition('.')[0]}."


@dataclass
class Malformed:
    """ASGI middleware right around Gradio's own routes.

    Parameters
    ----------
    app : ASGI application
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[object] = []
        try:
            await self.app(scope, receive, at_start(send, begun.append))
        except (ValueError, LookupError, TypeError, OSError) as error:
            _, *inner = traceback.walk_tb(error.__traceback__)
            ours = any(str(frame.f_globals.get("__name__")).startswith(_OURS) for frame, _ in inner)
            if begun or ours or (isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG):
                raise
            await PlainTextResponse("The request is malformed.\n", 400)(scope, receive, send)
