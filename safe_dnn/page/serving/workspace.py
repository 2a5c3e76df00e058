"""Who may see what: a request sees one workspace, all of it, and nothing else of this machine.

The ordinary page is one workspace, for everybody. A service (`page/serving/service.py`) has one for each visitor.
Whatever a request asks for, a page, a file, the list or an upload, is looked for in its own: there is no address by
which another's could be named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, folder_of
from safe_dnn.page.serving.inside import Inside
from safe_dnn.page.serving.list_page import ListPage
from safe_dnn.page.serving.mounts import Mounts
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.support.uploads import Limits

LINK = "/w/"
"""Before the secret, in the address that lets a browser into a workspace of a service."""
WORKSPACE = "safe.workspace"
"""In the scope of a request: the `Workspace` that it sees; None for a visitor of a service who has none yet."""


@dataclass(frozen=True)
class Workspace:
    """The analyses in a folder, and how they are seen.

    Attributes
    ----------
    mounts : Mounts
    listing : ListPage
    files : Path
        The folder of pictures and exports, all links followed: what lies there is given out.
    cache : Path or None
        As for `support.files.caching_in`.
    names : mapping of str to str
        What paths are called outside (see `page/serving/inside.py`); empty where they are no secret.
    """

    mounts: Mounts
    listing: ListPage
    files: Path
    cache: Path | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The folder."""
        return self.mounts.home

    @property
    def login(self) -> str:
        """The user name that was asked for: the engineer's name then; empty for the one typed in the browser."""
        return self.mounts.top.login

    @property
    def uploads(self) -> Limits | None:
        """Of images that are brought with the browser; None if none are taken."""
        return self.mounts.top.uploads

    def given_out(self, name: str) -> tuple[Path, Path]:
        """The folders of files that are given out on the page of an analysis: `files` and its GIFs, if it has any."""
        folder = self.home if name == TOP else folder_of(self.home, name)
        return self.files, (folder / GIF_FOLDER).resolve() if folder else self.files


@dataclass
class Seeing:
    """ASGI middleware that says which workspace a request sees, by its scope; None where that is none."""

    app: ASGIApp
    seen: Callable[[Scope], Workspace | None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.app
        if scope["type"] == "http":
            workspace = scope[WORKSPACE] = self.seen(scope)
            app = Inside(app, workspace.names) if workspace and workspace.names else app
        await app(scope, receive, send)
