"""What all other packages share. Nothing here depends on features, clusters or networks.

The modules in order, each importing only from those before it: `version`, `contexts` (values that hold in a block),
`errors` (what users type, and the one error type shown to them), `text` (names and numbers in sentences), `intervals`
(of rates), `run_folder` (the names of files that several packages know), `progress` (of long jobs), `quiet` (libraries
that print while they are imported), `files` (atomic writing, careful reading), `tables` (reading and writing CSV
files), `matching` (rows of tables and images), `defects` (logging unexpected exceptions), `images` (finding and
decoding image files) and `contents` (which files are the same).
"""
