"""What leaves SAFE: the report for the safety case, the images in folders, and the runs before this one.

In order, each importing only from those before it: `markup` (HTML), `elbow` (a drawing), `sections` and `report`,
`export`, and `history`.
"""
