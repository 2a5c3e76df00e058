"""What every part of SAFE needs and that knows nothing of images' features, clusters or networks.

In order, each importing only from those before it: `errors` (the one error that is shown to the engineer), `text`
(names and numbers in sentences), `tables` (cells that a spreadsheet does not run), `run_folder` (the names of all files
of a run), `progress`, `quiet`, `entries` (what people type), `files` (written whole or not at all, and read with care),
`output_folder` (one writer, SAFE's own files), `defects` (logged) and `images` (found and decoded).
"""
