"""What a face has of its own, whatever the image."""

import dataclasses

Colour = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Person:
    """What stays the same in all images of a person. The defaults are nobody in particular: each image has a new face.

    Attributes
    ----------
    name : str
        Empty for nobody in particular.
    seed : int or None
        Determines hairs, pores, freckles and the iris's fibres; None draws them anew for each image.
    skin_tint : tuple of float
        Factors on the linear colour of the skin: rosy, olive, golden.
    roughness : float
        Factor on pores and blotches.
    freckles, moles : int
        Number of spots around the eye.
    age : float
        0 to 1: bags below the eye, crow's feet.
    hair : tuple of float or None
        Linear colour of the brow; lashes are darker. None derives it from the skin.
    brow_height, brow_arch, brow_slope, brow_width : float
        Height of the brow above the eye, its curvature, its fall towards the nose, and a factor on its width.
    lid_tilt : float
        Fall of the eye towards the nose; negative if its corner at the temple is higher.
    crease_height, crease_depth : float
        Distance of the lid's fold from the lid, and a factor on its shadow.
    lash_length, lash_number : float
        Factors.
    eyeshadow : tuple of float or None
        Linear colour of the make-up on the lid.
    eyeliner : float
        Width of the line above the lashes, in half widths of the eye; 0 is none.
    iris_shade : float
        Factor on the colour of the iris.
    frame : tuple of float or None
        Linear colour of the person's glasses and sunglasses. None draws colour, size and form anew for each image.
    frame_half : tuple of float
        Half the width and height of a lens.
    frame_squareness, frame_thickness : float
    lens_colour : tuple of float
        Tint of the person's sunglasses.
    """

    name: str = ""
    seed: int | None = None
    skin_tone: float = 0.0
    skin_tint: Colour = (1.0, 1.0, 1.0)
    roughness: float = 1.0
    freckles: int = 0
    moles: int = 0
    age: float = 0.0
    hair: Colour | None = None
    brow_thickness: float = 0.0
    brow_height: float = 1.20
    brow_arch: float = 0.11
    brow_slope: float = 0.04
    brow_width: float = 1.0
    lid_tilt: float = -0.05
    crease_height: float = 0.09
    crease_depth: float = 1.0
    lash_length: float = 1.0
    lash_number: float = 1.0
    eyeshadow: Colour | None = None
    eyeliner: float = 0.0
    iris: str = ""
    iris_shade: float = 1.0
    frame: Colour | None = None
    frame_half: tuple[float, float] = (0.0, 0.0)
    frame_squareness: float = 0.0
    frame_thickness: float = 0.0
    lens_colour: Colour = (1.0, 1.0, 1.0)


NOBODY = Person()
