"""The steps of SAFE put together: what the page and the command line run on an output folder, and the lines they show.

The modules in order, each importing only from earlier ones: those of `reporting/`, `summary_lines` (each result in a
line), `run_record` (the record `run.json` of a run, with the DNN's answers to its test set), `descriptions` (profiles
and GIFs of RCCs, and all other files that show the present state), `asking` (further runs of the DNN: what would
change its answers, and where it looks), `generation` (steps 1 to 4; image folders that lie elsewhere by now),
`explaining` (RCCs and what the DNN gets right), `retraining` (steps 5 and 6 in a process of their own), `exports` (the
register, evidence, and images for use elsewhere) and `confirmation` (a fresh test set, requirements, and a new model).
"""
