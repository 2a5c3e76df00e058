"""The web page (Gradio): one file per tab. Nothing outside this folder knows about Gradio."""
