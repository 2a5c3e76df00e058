"""Root cause clusters (RCCs), and step 2: what the engineer looks at, looks for and says of them.

In order, each importing only from those before it: `clusters` and `unsafe_set` (the records and their files),
`parameters` and `profiles` (what the images of an RCC have in common), `search`, `nearness`, `gifs`, `notes`,
`journal`, `review` (RCCs with the engineer's notes and edits) and `image_map`.
"""
