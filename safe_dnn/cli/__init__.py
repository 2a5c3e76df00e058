"""The command line. Slow imports are local to the functions that need them, so `--help` answers at once.

The modules in order, each importing only from earlier ones: `terminal` (progress and Ctrl-C), `commands` (what each
command does) and `arguments` (the options of each, and what comes before it).
"""
