"""Scripts of the page alone in a browser: with what Gradio would give to them, and without Gradio."""

from collections.abc import Sequence

from playwright.sync_api import Page

from safe_dnn.page.assets import script

# In the window, `alone.change` is what the server sends, and `events` what a script has triggered, with its value then.
_ALONE = """([script, selector, props, server]) => {
  const watching = [];
  const alone = window.alone = { props, events: [], asked: [], change(more) {
    Object.assign(props, more);
    for (const [names, run] of watching) if ([names].flat().some((name) => name in more)) run();
  } };
  const trigger = (name) => alone.events.push([name, structuredClone(props.value)]);
  const watch = (names, run) => watching.push([names, run]);
  Function("element", "trigger", "props", "server", "watch", script)(
    document.querySelector(selector), trigger, props, eval(`(${server})`), watch);
}"""


def run_alone(window: Page, selector: str, scripts: Sequence[str], props: dict, server: str = "{}") -> None:
    """Run scripts for the element that a selector finds in the content of a window.

    Parameters
    ----------
    scripts : sequence of str
        The one of the widget, and those that come behind it.
    props : dict
    server : str
        JavaScript: an object with the functions of the server. They can keep what they are asked in `alone.asked`.
    """
    window.evaluate(_ALONE, [script(*scripts), selector, props, server])
