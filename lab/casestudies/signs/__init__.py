"""The simulator of traffic signs along a road, and a detector of them.

Reading order: `parameters` (what can vary), `faces` (the pictures on the signs), `surroundings` (what is behind them),
`render` (light and exposure), `cases` (the task, and what its training set lacks), `detector` (the DNN), `coco` (ground
truth and results in files), `build` (the sets, the DNN and its failures).
"""
