"""What every surface of an eye needs for painting: parameters, camera, light, random numbers and textures."""

import dataclasses
import functools

import numpy as np

from safe_dnn.casestudies.camera import LID_DEPTH, SIDE, Camera
from safe_dnn.casestudies.parameters import Eye
from safe_dnn.casestudies.people import Person

TEXTURE_SIDE = 256


@dataclasses.dataclass(frozen=True)
class Scene:
    """What every surface needs for painting.

    Attributes
    ----------
    to_light : ndarray of shape (3,)
        Unit vector from the eye to the light, in camera coordinates.
    rng : Generator
        For details of the image not determined by the parameters.
    person : Person
        Who is seen.
    """

    eye: Eye
    camera: Camera
    to_light: np.ndarray
    rng: np.random.Generator
    person: Person

    def details(self, part: str) -> np.random.Generator:
        """For details of a part of the face, such as hairs and pores: the same ones in all images of a person."""
        if self.person.seed is None:
            return self.rng
        return np.random.default_rng([self.person.seed, *part.encode()])

    def texture(self, grain: str, rng: np.random.Generator | None = None) -> np.ndarray:
        """A crop of noise of the size of the image, mean 0 and variance 1; `grain` is `fine`, `middle` or `coarse`.

        With the `rng` of a person's details the crop moves with the face.
        """
        top, left = (rng or self.rng).integers(TEXTURE_SIDE - SIDE, size=2).tolist()
        if rng and self.person.seed is not None:
            column, row = map(float, self.camera.to_pixels(np.zeros(()), np.zeros(()), LID_DEPTH))
            last = TEXTURE_SIDE - SIDE
            top, left = (min(max(round(at), 0), last) for at in (top + SIDE / 2 - row, left + SIDE / 2 - column))
        return textures()[grain][top : top + SIDE, left : left + SIDE]


@functools.cache
def textures() -> dict[str, np.ndarray]:
    """Periodic noise of three grains: white noise, its frequencies weighted by a bell curve over octaves."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(TEXTURE_SIDE), np.fft.rfftfreq(TEXTURE_SIDE), indexing="ij"))
    textures = {}
    for grain, wavelength in (("fine", 3.0), ("middle", 12.0), ("coarse", 50.0)):
        octaves = np.log2(np.maximum(frequency, 1e-6) * wavelength)
        spectrum = np.fft.rfft2(rng.standard_normal((TEXTURE_SIDE, TEXTURE_SIDE)))
        noise = np.fft.irfft2(spectrum * np.exp(-0.7 * octaves**2) / np.maximum(frequency, 1e-6))
        textures[grain] = (noise / noise.std()).astype(np.float32)
    return textures
