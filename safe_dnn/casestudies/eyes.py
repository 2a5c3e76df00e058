"""The simulator: renders a driver's eye, as seen by a camera in the dashboard, from its parameters.

In: an `Eye`. Out: 128 × 128 pixels. Surfaces are shaded from a height map (`face`) or as spheres (`eyeball`). Edges are
signed distances converted to pixel coverage, so nothing needs supersampling; only lashes and brow are drawn as strokes,
at three times the size. Colours are linear light, in planes of shape (3, SIDE, SIDE), until the last step.
"""

import numpy as np

from safe_dnn.casestudies import eyeball, eyewear, face
from safe_dnn.casestudies.camera import place_camera
from safe_dnn.casestudies.light import direction_of, expose
from safe_dnn.casestudies.parameters import Eye
from safe_dnn.casestudies.people import NOBODY, Person
from safe_dnn.casestudies.scene import Scene


def render(eye: Eye, person: Person = NOBODY) -> np.ndarray:
    """Render the image of an eye, by default of nobody in particular.

    Returns
    -------
    ndarray of shape (SIDE, SIDE, 3), uint8
        Determined by the parameters, whatever was rendered before.
    """
    rng = np.random.default_rng(eye.seed)
    right, up = rng.uniform(-0.08, 0.08, 2).tolist()
    scene = Scene(eye, place_camera(eye, (right, up)), direction_of(eye), rng, person)
    lids = face.shape_lids(scene)
    picture = face.paint_skin(scene, lids)
    picture = eyeball.paint_eyeball(scene, lids, picture)
    picture = face.paint_lashes(scene, picture)
    picture = face.paint_profile(scene, picture)
    picture = eyewear.paint_eyewear(scene, picture)
    return expose(picture, eye, rng)
