"""Case studies with known root causes of failure: simulators of a driver's eye, head and road, tasks, and DNNs.

Reading order: `parameters` (what can vary of an eye), `people` (the drivers of two of the cases), `case` (what a case
consists of), `cases` (the tasks, and what their training sets lack), `eyes` (the simulator, with `camera`, `light`,
`scene`, `face`, `eyeball` and `eyewear`), `heads` (parameters, cases and simulator of a head), `signs` (the same of
traffic signs, and their detector), `networks` (the other DNNs), `table` (`parameters.csv`), `sets` and `build` (the
sets, the DNN and its failures), `causes` (the root causes of the failures, and those that SAFE finds), `contact_sheet`
(an overview picture).
"""
