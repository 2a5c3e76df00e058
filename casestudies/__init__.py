"""Case studies with known root causes of failure: a simulator of a driver's eye, two tasks and DNNs under test.

Reading order: `parameters` (what can vary), `people` (the drivers of two of the cases), `cases` (the tasks, and what
their training sets lack), `eyes` (the simulator, with `camera`, `scene`, `face`, `eyeball` and `eyewear`), `build` (the
sets, the DNN and its failures), `causes` (the root causes of the failures, and those that SAFE finds), `contact_sheet`
(an overview picture).
"""
