"""The command line. What takes long to import is imported where it is needed: `--help` answers at once.

In order, each importing only from those before it: `holding` (what the page's address answers until the page is
loaded), `terminal` (progress, and Ctrl-C), `commands` (what each runs) and `arguments` (what each takes).
"""
