"""Case studies whose causes of failure are known: a simulator of a driver's eye, two tasks, and DNNs under test.

Reading order: `parameters` (what can vary), `cases` (the tasks, and what their training sets lack), `eyes` (the
simulator, with `camera`, `scene`, `face`, `eyeball` and `eyewear`), `build` (the sets, the DNN and its failures),
`causes` (which root causes the failures have, and which SAFE finds), `contact_sheet` (a picture of it all).
"""
