"""Root cause clusters (RCCs), and step 2: how the engineer inspects, searches, annotates and edits them.

The modules in order, each importing only from earlier ones: `clusters` and `unsafe_set` (the records and their files),
`parameters` and `profiles` (what the images of an RCC have in common), `search`, `nearness`, `gifs`, `notes`,
`journal`, `review` (RCCs with the engineer's notes and edits), `image_map` and `map_filters`.
"""
