"""What all other packages share. Nothing here depends on features, clusters or networks.

The modules in order, each importing only from those before it: `version`, `progress` (of long jobs, and values that
hold in a block), `errors` (what users type, and the one error type shown to them), `text` (names and numbers in
sentences), `intervals` (of rates), `run_folder` (the names of files that several packages know), `quiet` (libraries
that print while they are imported), `files` (atomic writing, careful reading), `tables` (reading and writing CSV
files), `matching` (rows of tables and images), `defects` (logging unexpected exceptions) and `images` (finding and
decoding image files, and which of them are the same).
"""
