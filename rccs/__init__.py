"""Root cause clusters (RCCs), and step 2: how the engineer inspects, searches, annotates and edits them.

The modules in order, each importing only from earlier ones: `clusters` and `unsafe_set` (the records and their files),
`parameters` and `profiles` (what the images of an RCC have in common), `search`, `nearness`, `gifs`, `notes`,
`journal`, `edited` (what edits do to RCCs), `review` (RCCs with the engineer's notes and edits), `edits` (making and
undoing them), `carried` (from one clustering to the next), `image_map` and `map_filters`.
"""
