"""Case studies with known root causes of failure: a simulator of a driver's eye, tasks, and DNNs.

Reading order: `parameters` (what can vary of an eye), `people` (what a face has of its own), `case` (what a case
consists of), `cases` (the tasks, and what their training sets lack), `eyes` (the simulator, with `camera`, `light`,
`scene`, `face`, `eyeball` and `eyewear`), `networks` (the DNNs), `table` (`parameters.csv`), `sets` and `build` (the
sets, the DNN and its failures), `causes` (the root causes of the failures, and those that SAFE finds).
"""
