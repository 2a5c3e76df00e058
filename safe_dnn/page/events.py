"""How handlers of the page are called: what Gradio is given with each event."""

from typing import Any

# Nowhere: Gradio would otherwise tell all widgets that an event may change that it has begun, goes on and has ended.
VIEW: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
# Of clicks that come faster than they are answered, the last counts; Gradio by default drops all but the first.
LATEST: dict[str, Any] = VIEW | {"trigger_mode": "always_last"}
# Each click counts, also one that comes before an earlier one is answered.
EACH: dict[str, Any] = VIEW | {"trigger_mode": "multiple"}
# What changes the images that are listed is done one after the other: no earlier answer comes after a later one.
IN_TURN: dict[str, Any] = {"concurrency_id": "listed images", "concurrency_limit": 1}
# Edits of the clusters, and what shows those of others: one after the other.
EDITS: dict[str, Any] = {"concurrency_id": "edits", "concurrency_limit": 1}


# The browser keeps the name as long as the window is open, also where it is loaded anew, if it may.
NAME_OF_WINDOW = """() => {
  const hex = (n) => n.toString(16).padStart(2, "0");
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), hex).join("");
  try {
    let name = sessionStorage.getItem("safe-window");
    if (!name) sessionStorage.setItem("safe-window", name = fresh());
    return name;
  } catch { return fresh(); }
}"""


def visitor_of(sent: object) -> str:
    """The name of a visitor that a browser has sent; empty if it is something else."""
    return sent if isinstance(sent, str) and sent.isalnum() and len(sent) <= 64 else ""
