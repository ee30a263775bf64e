"""Find images that are the same, or nearly: such must never lie in two splits.

Identical are two files of the same bytes. Near-duplicates (the same picture in another size, compression or brightness)
are found by a perceptual hash, 64 bits from the low frequencies of a thumbnail (pHash, Zauner 2010), that differs in
few of them. As images of one kind, such as solar cells, have hashes close together as well, the thumbnails must also be
alike: their correlation must reach a limit. Measured on 2,624 solar cells, of which none is a copy: 629 pairs differ in
at most 4 bits, and their correlations reach 0.9981. Copies of cells and photographs have correlations of 0.9994 and
more as JPEG of quality 90, of 0.999 and more after resizing to half or twice the size, and of 0.9967 and more as JPEG
of quality 30, so that not all of the last are found.

A correlation says little of thumbnails that are nearly flat, and of those that differ in a small object only, on a
background that all images share. So a thumbnail that is nearly flat is like no other, and of two that correlate, the
difference must be like noise: no greater anywhere than elsewhere, but at edges, which resizing softens. Measured with
the default limits on images that are all different, the images that were taken for a copy without and with these two
rules: of 600 small digits in the middle of black images (deviations of thumbnails of 2.2 to 3.3) 524 and 0; of 400 grey
images with a small square or disc 33 and 0; of 196 images of one thing with a spot in a place of its own 196 and 12; of
400 X-ray-like images of one background with noise, of which half have a spot, 43 and 21; of 1,797 digits that fill the
image, and of dark images with noise, 0 and 0. The rules lose none of the copies of 300 cells and 24 photographs that
the correlation lets through, also as JPEG of quality 30; of 100 digits on a black background they lose up to 4.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.ndimage import maximum_filter, uniform_filter

from transfer.core.arrays import Pixels
from transfer.core.params import Duplicates

LOWEST = 8  # frequencies in each direction
HASH_BITS = LOWEST**2
LUMA_BITS = 16
LUMA = np.array([19595, 38470, 7471], np.int64)  # red, green, blue: ITU-R BT.601, in units of 2^-16, as Pillow has it
HALF = 1 << (LUMA_BITS - 1)
FLAT = 4.0
"""Standard deviation of each channel, in grey levels, below which a thumbnail is nearly flat; those of cells and
photographs are 11 and more."""
QUIET = 2.0
"""Grey levels in which two thumbnails that are alike may differ anywhere."""
NOISE = 4.0
"""Likewise, in standard deviations of their difference."""
EDGE = 0.6
"""What the difference may be beyond these, as a part of the greatest step near by of a pixel from those around it."""
BLOCK = 4096  # pairs whose thumbnails are compared at a time
AXES = (1, 2, 3)  # of one thumbnail among many
AROUND = (1, 3, 3, 1)  # a pixel and its neighbours

MANY = 200_000
"""Images from which on the buckets of a single band take longer than the sorting by more."""

Contents = NDArray[np.bytes_]
Bits = NDArray[np.uint64]
Numbers = NDArray[np.int32]  # of images
Pairs = NDArray[np.int32]  # (pairs, 2): numbers of two images


def perceptual_hashes(thumbnails: Pixels) -> Bits:
    """Return the perceptual hash of each thumbnail (n, 32, 32, channels).

    A bit for each of the 8 × 8 lowest frequencies of the discrete cosine transform of the grey image: whether it is
    above their median. It is the hash that `imagehash.phash` gives, of many images at a time, which takes a tenth of
    the time; frequencies are rounded, so that those of a flat image, 0 but for rounding, say nothing.
    """
    grey = thumbnails[..., 0] if thumbnails.shape[-1] == 1 else (thumbnails @ LUMA + HALF) >> LUMA_BITS
    low = np.round(dctn(grey.astype(np.float64), axes=(1, 2))[:, :LOWEST, :LOWEST].reshape(-1, HASH_BITS), 6)
    bits = np.packbits(low > np.median(low, axis=1, keepdims=True), axis=1)
    return np.asarray(bits.view(">u8")[:, 0].astype(np.uint64))


@dataclass(frozen=True)
class Same:
    """Which images are the same. Each array has a number for each image: two with the same number belong together.

    `identical` joins files of the same bytes; `alike` joins these and near-duplicates, also by way of others.
    """

    identical: Numbers
    alike: Numbers


def find_same(contents: Sequence[bytes] | Contents, perceptual: Bits, thumbnails: Pixels, params: Duplicates) -> Same:
    """Find identical images and near-duplicates.

    Args:
        contents: hashes of the files, all of one length.
        perceptual: perceptual hashes (n,).
        thumbnails: (n, 32, 32, channels); may lie on disk, of which little is read.
        params: when two images count as near-duplicates.
    """
    identical = _first_identical(np.asarray(contents))
    alike = identical.copy()
    if params.distance is not None:
        different = np.flatnonzero(identical == np.arange(len(identical), dtype=np.int32)).astype(np.int32)
        for close in _close_pairs(perceptual[different], params.distance):
            pairs = different[close]
            pairs = pairs[alike[pairs[:, 0]] != alike[pairs[:, 1]]]  # most of a large cluster is joined by its first
            for one, other in pairs[_correlated(pairs, thumbnails, params.correlation)]:
                _join(alike, int(one), int(other))
    while (alike != (above := alike[alike])).any():
        alike = above
    return Same(identical, alike)


def _first_identical(contents: Contents) -> Numbers:
    """Return, for each hash, the number of the first that is equal to it."""
    order = np.argsort(contents, kind="stable").astype(np.int32)
    ordered, first = contents[order], np.ones(len(order), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    begins = np.flatnonzero(first)
    identical = np.empty_like(order)
    identical[order] = np.repeat(order[begins], np.diff(begins, append=len(order)))
    return identical


def _root(parents: Numbers, i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = int(parents[i])
    return i


def _join(parents: Numbers, one: int, other: int) -> None:
    low, high = sorted((_root(parents, one), _root(parents, other)))
    parents[high] = low


def _close_pairs(hashes: Bits, distance: int) -> Iterator[Pairs]:
    """Yield blocks of pairs whose hashes differ in at most `distance` bits.

    Cut into distance + 1 bands, two such hashes have at least one band in common (Manku et al. 2007,
    doi:10.1145/1242572.1242592), so that only images that share a band are compared. Where there are many images, one
    more band is cut, and those that share two are compared: more sorting, for buckets so small that the time grows
    with the number of images and not with its square. A pair may come more than once.
    """
    shared = 1 if len(hashes) < MANY else 2
    edges = np.linspace(0, HASH_BITS, distance + 1 + shared).astype(int)
    bands = [((1 << int(high)) - (1 << int(low))) for low, high in pairwise(edges)]
    for together in combinations(bands, shared):
        keys = hashes & np.uint64(sum(together))
        order = np.argsort(keys, kind="stable").astype(np.int32)
        keys = keys[order]
        for rows, step in _same_keys(keys):
            one, other = order[rows], order[rows + step]
            close = np.flatnonzero(np.bitwise_count(hashes[one] ^ hashes[other]) <= distance)
            for block in range(0, len(close), BLOCK):
                some = close[block : block + BLOCK]
                yield np.stack([one[some], other[some]], axis=1)


def _same_keys(keys: Bits) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield, for each step, the rows of sorted keys that are equal to the one that many rows on."""
    rows, step = np.flatnonzero(keys[1:] == keys[:-1]), 1
    while len(rows):
        yield rows, step
        step += 1
        rows = rows[: np.searchsorted(rows, len(keys) - step)]
        rows = rows[keys[rows] == keys[rows + step]]  # what is equal to a row farther on is equal to those between


def _correlated(pairs: Pairs, thumbnails: Pixels, limit: float) -> NDArray[np.bool_]:
    """Tell which pairs have thumbnails that are alike: neither is flat, the Pearson correlation over all pixels and
    channels is at least `limit`, and no object is in one only.
    """
    one, other = (thumbnails[pairs[:, i]].astype(np.float32) for i in (0, 1))
    flat = np.minimum(*(_deviation(pixels - pixels.mean(axis=(1, 2), keepdims=True)) for pixels in (one, other))) < FLAT
    one, other = (pixels - pixels.mean(axis=AXES, keepdims=True) for pixels in (one, other))
    spread = _deviation(one), _deviation(other)
    lower = np.minimum(*spread)
    correlation = (one * other).mean(axis=AXES, keepdims=True) / np.maximum(1e-12, spread[0] * spread[1])
    alike = (~flat & (correlation >= limit)).ravel()
    scaled = (pixels[alike] * (lower[alike] / of[alike]) for pixels, of in zip((one, other), spread, strict=True))
    alike[alike] = ~_object_in_one(*scaled)
    return np.asarray(alike, np.bool_)


def _deviation(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root of the mean square of each image, with its axes kept."""
    return np.asarray(np.sqrt((pixels**2).mean(axis=AXES, keepdims=True)))


def _object_in_one(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell of which thumbnails, of the same mean and spread, the difference is more than noise and softened edges."""
    edges = [maximum_filter(np.abs(pixels - uniform_filter(pixels, AROUND)), AROUND) for pixels in (one, other)]
    allowed = np.maximum(QUIET, NOISE * _deviation(one - other)) + EDGE * np.maximum(*edges)
    return np.asarray((np.abs(one - other) > allowed).any(axis=AXES), np.bool_)
