"""The steps of SAFE put together: what the page and the command line run on an output folder, and the lines they show.

The modules in order, each importing only from earlier ones: those of `reporting/`, `summaries` (each result in a line),
`run_record` (what `run.json` says of a run), `answers` (the DNN's answers to its test set, and how `run.json` keeps
where they are), `asking` (the DNN itself, to be asked again), `heatmaps` (where it looks), `descriptions` (profiles and
GIFs of RCCs, and all other files that show the present state), `moved` (image folders that lie elsewhere by now),
`generation` (steps 1 and 2), `comparison` (RCCs and what the DNN gets right), `confirmation` (a fresh test set, and
requirements), `probing` (what would change the answers), `improvement` (steps 3 and 4), `retraining` (steps 5 and 6 in
a process of their own), `exports`.
"""
