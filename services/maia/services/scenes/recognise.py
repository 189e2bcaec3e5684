"""Which shape a silhouette has and which texture a surface, by classifiers fitted to our own drawings at first use.

Shapes: the silhouette is sampled on circles around its centre; the magnitudes of each circle's Fourier coefficients
do not change when the shape turns, and the scale is taken from the area. Textures: stripes have their edges in one
direction, checks in two that are perpendicular, dots in all; the second and fourth angular moments of the gradient
tell. Both feature vectors go to a linear discriminant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mask: TypeAlias = "NDArray[np.bool_]"
Field: TypeAlias = "NDArray[np.float32]"
Vector: TypeAlias = "NDArray[np.float64]"

ANGLES: Final = 48
_RADII: Final = np.arange(0.3, 1.75, 0.12)  # of the radius of a disc of equal area
_ORDERS: Final = 9


@dataclass(frozen=True, slots=True)
class Silhouette:
    """What is measured of a filled outline: its polar picture, centre and size.

    Attributes:
        polar: Coverage from 0 to 1, float64, shape (radii, ANGLES); angles run clockwise from the right.
        x: Centre of area in pixels of the mask, 0.5 being the middle of the first column.
        y: The same for rows.
        area: In pixels.
    """

    polar: Vector
    x: float
    y: float
    area: float

    def features(self) -> Vector:
        """Return the rotation-invariant features, float64 (n,)."""
        return np.asarray(np.abs(np.fft.rfft(self.polar, axis=1)[:, :_ORDERS]).ravel() / ANGLES)


def measure_silhouette(filled: Mask) -> Silhouette:
    """Measure a mask that holds one filled outline, with at least one pixel set."""
    area = float(np.count_nonzero(filled))
    rows, columns = filled.sum(axis=1), filled.sum(axis=0)
    y = float(rows @ np.arange(len(rows))) / area
    x = float(columns @ np.arange(len(columns))) / area
    angles = np.arange(ANGLES) * (2.0 * math.pi / ANGLES)
    radii = _RADII[:, None] * math.sqrt(area / math.pi)
    coordinates = np.stack([y + radii * np.sin(angles), x + radii * np.cos(angles)])
    polar = ndimage.map_coordinates(filled.astype(np.float32), coordinates, order=1, mode="constant", cval=0.0)
    return Silhouette(np.asarray(polar, dtype=np.float64), x + 0.5, y + 0.5, area)


def turn_between(reference: Silhouette, seen: Silhouette) -> float:
    """Return by how many degrees clockwise `reference` must turn to lie on `seen` as well as possible."""
    spectrum = np.fft.rfft(seen.polar, axis=1) * np.conj(np.fft.rfft(reference.polar, axis=1))
    match = np.fft.irfft(spectrum.sum(axis=0), n=ANGLES)
    best = int(match.argmax())
    left, middle, right = match[best - 1], match[best], match[(best + 1) % ANGLES]
    bend = left - 2.0 * middle + right
    shift = best + (0.5 * (left - right) / bend if bend else 0.0)
    return float(shift * 360.0 / ANGLES % 360.0)


def texture_features(field: Field, where: Mask) -> Vector:
    """Return features of a pattern that do not change when it turns.

    Args:
        field: How much each pixel shows of the second colour, about 0 to 1, float32 (h, w).
        where: The pixels that count; bool, the same shape. Few or none give features near zero.

    Returns:
        Mean, share above one half, spread, second and fourth angular moment of the gradient; float64 (5,).
    """
    across = np.zeros(field.shape, np.complex64)
    across[1:-1, 1:-1] = (field[1:-1, 2:] - field[1:-1, :-2]) + 1j * (field[2:, 1:-1] - field[:-2, 1:-1])
    values = field[where]
    slopes = across[where]
    if values.size == 0:
        return np.zeros(5)
    power = np.abs(slopes) ** 2
    total = float(power.sum()) + 1e-6
    squared = slopes**2
    second = abs(complex(squared.sum())) / total
    fourth = abs(complex((squared**2 / (power + 1e-6)).sum())) / total
    return np.array([values.mean(), (values > 0.5).mean(), values.std(), second, fourth], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Discriminant:
    """A linear discriminant: the class whose mean is nearest after whitening by the common covariance.

    Attributes:
        means: Whitened class means, float64 (classes, n).
        whiten: The whitening matrix, float64 (n, n).
        usual: The squared distance to the own class that 99 % of the samples it was fitted to stay under.
    """

    means: Vector
    whiten: Vector
    usual: float

    @classmethod
    def fit(cls, samples: Vector, labels: NDArray[np.int64], shrinkage: float) -> Discriminant:
        """Fit to samples, float64 (m, n), with labels 0 to k - 1, each of which occurs.

        Args:
            samples: The feature vectors.
            labels: Their classes.
            shrinkage: How much of the mean variance is added to every variance.
        """
        centres = np.stack([samples[labels == label].mean(axis=0) for label in range(int(labels.max()) + 1)])
        rest = samples - centres[labels]
        covariance = rest.T @ rest / len(samples)
        covariance += shrinkage * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
        values, vectors = np.linalg.eigh(covariance)
        whiten = vectors / np.sqrt(values)
        usual = float(np.quantile(((rest @ whiten) ** 2).sum(axis=1), 0.99))
        return cls(centres @ whiten, whiten, usual)

    def classify(self, features: Vector, among: slice = slice(None)) -> tuple[int, float]:
        """Return the class of a feature vector, counted within `among`, and a confidence, 0 to 1.

        The confidence is that of the best class against the others, and falls when the features fit no class.
        """
        distances = ((self.means[among] - features @ self.whiten) ** 2).sum(axis=1)
        best = int(distances.argmin())
        share = 1.0 / float(np.exp((distances[best] - distances) / 2.0).sum())
        strangeness = max(0.0, float(distances[best]) / self.usual - 1.0)
        return best, share * math.exp(-strangeness / 4.0)
