"""The steps of SAFE put together: what the page and the command line run on an output folder, and the lines they show.

The modules in order, each importing only from earlier ones: `summaries` (each result in a line), `run_record` (what
`run.json` says of a run), `answers` (the DNN's answers to its test set, and how `run.json` keeps where they are),
`descriptions` (profiles and GIFs of RCCs), `generation` (steps 1 and 2), `comparison` (RCCs and what the DNN gets
right), `improvement` (steps 3 and 4), `exports`. Steps 5 and 6 are `retrain.retrain`.
"""
