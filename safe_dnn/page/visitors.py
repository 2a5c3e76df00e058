"""The names of the page's windows, to distinguish changes in other windows from a window's own."""

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
