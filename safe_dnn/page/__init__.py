"""The web page (Gradio): a folder for each tab. Nothing outside this folder knows about Gradio."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
