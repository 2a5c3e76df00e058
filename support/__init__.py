"""What all other packages share. Nothing here depends on features, clusters or networks.

The modules in order, each importing only from those before it: `version`, `errors` (the one error type shown to the
engineer), `text` (names and numbers in sentences), `tables` (reading and writing CSV files), `run_folder`
(the names of all files of a run), `progress` (of long jobs), `quiet` (libraries that print while they are imported),
`entries` (parsing what users type), `files` (atomic writing, careful reading), `matching` (rows of tables and images),
`defects` (logging unexpected exceptions) and `images` (finding and decoding image files).
"""
