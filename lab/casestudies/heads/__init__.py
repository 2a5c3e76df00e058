"""The simulator of a driver's head: a shape of joined ellipsoids, seen by a perspective camera, lit by a lamp.

Reading order: `parameters` (what can vary), `looks` (who is seen), `shape`, `view` (what each pixel sees), `surface`
(colours), `lenses`, `render` (light and exposure), `cases` (the tasks, and what their training sets lack).
"""
