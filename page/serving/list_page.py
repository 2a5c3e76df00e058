"""The list of analyses: a page of plain HTML that is there at once, and what its buttons do.

Every button is a form that is posted; `page/serving/guard.py` refuses those of other pages. What could not be done is
said above the list, in a sentence.
"""

import asyncio
import datetime
import html
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from page.serving.analyses import TOP, address_of, deleted_in, folder_of, names_in, title_of
from page.serving.mounts import Mounts
from page.serving.shelf import delete, duplicate, make, rename, restore
from page.serving.summaries import Summaries, Summary
from pipeline.reporting.markup import escaped
from support.errors import SAFEError
from support.text import count

ADDRESS = "/analyses"
_TEMPLATE = Path(__file__).with_name("list.html")
_NONE = '<p class="empty">There are no analyses yet. <a href="{path}/">Begin the first one</a>, or name it above.</p>'
_FRESH = {"Cache-Control": "no-store"}


class ListPage:
    """The list of the analyses in a folder.

    Parameters
    ----------
    home : Path
    mounts : Mounts
    example : Path or None
        The folder of the example, which is not listed.
    path : str
        That the page lies below.
    """

    def __init__(self, home: Path, mounts: Mounts, example: Path | None = None, path: str = ""):
        self._home = home
        self._mounts = mounts
        self._example = example
        self._path = path
        self._summaries = Summaries()
        self._template = Template(_TEMPLATE.read_text(encoding="utf-8"))

    def title(self, name: str) -> str:
        return title_of(self._home, name)

    def stands_first(self) -> bool:
        """Whether the list is what a visitor sees first: the folder is no analysis, and holds some."""
        return folder_of(self._home, TOP) is None and bool(names_in(self._home, other_than=self._example))

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the list, or what a button does."""
        response: Response
        request = Request(scope, receive)
        action = scope["path"].removeprefix(ADDRESS).strip("/")
        if request.method in ("GET", "HEAD") and not action:
            response = await asyncio.to_thread(
                self.shown, request.query_params.get("deleted") and "Moved to the bin below."
            )
        elif request.method == "POST" and action in ("new", "rename", "duplicate", "delete", "restore"):
            body = (await request.body()).decode("utf-8", "replace")
            response = await self._done(action, dict(parse_qsl(body, keep_blank_values=True)))
        else:
            response = PlainTextResponse("There is no such page.\n", 404)
        await response(scope, receive, send)

    async def _done(self, action: str, fields: dict[str, str]) -> Response:
        """Do what a button says; the page that is shown next."""
        shown = ADDRESS
        try:
            if (name := fields.get("name")) is None:
                raise SAFEError("Expected the name of an analysis. Received none. Reload the list and try again.")
            if action == "new":
                shown = address_of(await asyncio.to_thread(make, self._home, name))
            elif action == "rename":
                await asyncio.to_thread(self._rename, name, fields.get("new", ""))
            elif action == "delete":
                await asyncio.to_thread(self._delete, name)
                shown = f"{ADDRESS}?deleted=1"
            else:
                await asyncio.to_thread(duplicate if action == "duplicate" else restore, self._home, name)
        except SAFEError as error:
            return await asyncio.to_thread(self.shown, str(error), 409)
        if action in ("rename", "delete"):
            self._mounts.close(name)
        return RedirectResponse(shown, 303)

    def _rename(self, name: str, typed: str) -> None:
        with self._mounts.resting(name):
            rename(self._home, name, typed)

    def _delete(self, name: str) -> None:
        with self._mounts.resting(name):
            delete(self._home, name)

    # --- HTML ---------------------------------------------------------------------------------------------------

    def shown(self, notice: str | None = None, status: int = 200) -> HTMLResponse:
        """The list, below a sentence if there is one to say."""
        names = [*([TOP] if folder_of(self._home, TOP) else []), *names_in(self._home, other_than=self._example)]
        entries = [(name, self._summaries.of(self._home / name)) for name in names]
        entries.sort(key=lambda entry: -entry[1].changed)
        cards = "\n".join(self._card(name, summary) for name, summary in entries)
        role = "status" if status == 200 else "alert"
        page = self._template.substitute(
            notice=f'<p role="{role}">{escaped(notice)}</p>' if notice else "",
            cards=f'<ul class="cards">\n{cards}\n</ul>' if cards else _NONE.format(path=self._path),
            deleted=self._bin(),
            path=self._path,
        )
        return HTMLResponse(page, status, headers=_FRESH)

    def _card(self, name: str, summary: Summary) -> str:
        title, address = escaped(self.title(name)), html.escape(self._path + address_of(name))
        state = self._mounts.at_work(name)
        following = f"<b>At work:</b> {escaped(state)}" if state else f"<b>Next:</b> {escaped(summary.step)}"
        facts = "".join(f"<li{kind}>{escaped(fact)}</li>" for fact, kind in _facts(summary))
        return f"""<li class="card"><div class="words"><div><h2><a href="{address}"><bdi>{title}</bdi></a></h2>
<time datetime="{_date(summary.changed).isoformat()}">{_date(summary.changed):%-d %B %Y, %H:%M}</time></div>
{f'<ul class="facts">{facts}</ul>' if facts else ""}<p class="next">{following}</p></div>
{self._actions(name, title) if name != TOP else ""}</li>"""

    def _actions(self, name: str, title: str) -> str:
        """What can be done with an analysis; the folder that holds the others stays as it is."""
        value = html.escape(name)
        return f"""<div class="actions"><details><summary aria-label="Rename {title}">Rename</summary>
<form class="row" method="post" action="{self._path}{ADDRESS}/rename"><input type="hidden" name="name" value="{value}">
<input name="new" value="{title}" aria-label="New name of {title}" dir="auto" maxlength="300" autocomplete="off">
<button>Rename</button></form></details>
{self._form("duplicate", name, "Duplicate", title)}{self._form("delete", name, "Delete", title)}</div>"""

    def _bin(self) -> str:
        deleted = deleted_in(self._home)
        if not deleted:
            return ""
        rows = "\n".join(
            f'<li><bdi>{escaped(name)}</bdi><span class="note">{escaped(_deleted_on(when))}</span>'
            f"{self._form('restore', name, 'Restore', escaped(name))}</li>"
            for name, when in deleted
        )
        return f'<details class="bin"><summary>Bin ({len(deleted)})</summary><ul>{rows}</ul></details>'

    def _form(self, action: str, name: str, what: str, title: str) -> str:
        return (
            f'<form method="post" action="{self._path}{ADDRESS}/{action}">'
            f'<input type="hidden" name="name" value="{html.escape(name)}">'
            f'<button aria-label="{what} {title}">{what}</button></form>'
        )


def _facts(summary: Summary) -> list[tuple[str, str]]:
    """What has been done, each with the attributes of its element."""
    facts = []
    if summary.failures is not None:
        facts.append((count(summary.failures, "failure"), ""))
    if summary.rccs is not None:
        facts.append((count(summary.rccs, "RCC"), ""))
    if summary.unsafe is not None:
        labelled = f", {summary.labelled:,} labelled" if summary.labelled else ""
        facts.append((count(summary.unsafe, "unsafe image") + labelled, ""))
    if summary.accuracy:
        before, after, tested = summary.accuracy
        facts.append((f"accuracy {before:.1%} → {after:.1%} of {tested:,}", ' class="gain"' if after > before else ""))
    return facts


def _date(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds).astimezone().replace(microsecond=0)


def _deleted_on(when: str) -> str:
    return f"deleted {datetime.datetime.fromisoformat(when):%-d %B %Y, %H:%M}" if when else ""
