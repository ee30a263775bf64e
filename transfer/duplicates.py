"""Find images that are the same, or nearly: such must never lie in two splits.

Identical are two files of the same bytes. Near-duplicates (the same picture in another size, compression or brightness)
are found by a perceptual hash, 64 bits from the low frequencies of a thumbnail (pHash, Zauner 2010), that differs in
few of them. As images of one kind, such as solar cells, have hashes close together as well, the thumbnails must also be
alike: their correlation must reach a limit. Measured on 2,624 solar cells, of which none is a copy: 629 pairs differ in
at most 4 bits, and their correlations reach 0.9981. Copies of cells and photographs have correlations of 0.9994 and
more as JPEG of quality 90, of 0.999 and more after resizing to half or twice the size, and of 0.9967 and more as JPEG
of quality 30, so that not all of the last are found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from transfer.params import Duplicates

LOWEST = 8  # frequencies in each direction
HASH_BITS = LOWEST**2
LUMA_BITS = 16
LUMA = np.array([19595, 38470, 7471], np.int64)  # red, green, blue: ITU-R BT.601, in units of 2^-16, as Pillow has it
HALF = 1 << (LUMA_BITS - 1)
FLAT = 2.0
"""Standard deviation, in grey levels, below which a thumbnail shows nothing: then the mean colours are compared, which
may differ by as much."""
BLOCK = 4096  # pairs whose thumbnails are compared at a time

Bits = NDArray[np.uint64]
Pairs = NDArray[np.int64]  # (pairs, 2): numbers of two images


class Thumbnails(Protocol):
    """An array (n, 32, 32, channels), or what gives rows of one."""

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Give some rows."""


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> Bits:
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

    identical: NDArray[np.int64]
    alike: NDArray[np.int64]


def find_same(contents: Sequence[bytes], perceptual: Bits, thumbnails: Thumbnails, params: Duplicates) -> Same:
    """Find identical images and near-duplicates.

    Args:
        contents: hashes of the files.
        perceptual: perceptual hashes (n,).
        thumbnails: (n, 32, 32, channels); may lie on disk, of which little is read.
        params: when two images count as near-duplicates.
    """
    first: dict[bytes, int] = {}
    identical = np.array([first.setdefault(content, i) for i, content in enumerate(contents)], np.int64)
    alike = identical.copy()
    if params.distance is not None:
        different = np.unique(identical)
        for close in _close_pairs(perceptual[different], params.distance):
            pairs = different[close]
            pairs = pairs[alike[pairs[:, 0]] != alike[pairs[:, 1]]]  # most of a large cluster is joined by its first
            for one, other in pairs[_correlated(pairs, thumbnails, params.correlation)]:
                _join(alike, int(one), int(other))
    return Same(identical, np.array([_root(alike, i) for i in range(len(alike))], np.int64))


def _root(parents: NDArray[np.int64], i: int) -> int:
    while parents[i] != i:
        parents[i] = parents[parents[i]]
        i = int(parents[i])
    return i


def _join(parents: NDArray[np.int64], one: int, other: int) -> None:
    low, high = sorted((_root(parents, one), _root(parents, other)))
    parents[high] = low


def _close_pairs(hashes: Bits, distance: int) -> Iterator[Pairs]:
    """Yield blocks of pairs whose hashes differ in at most `distance` bits.

    Cut into distance + 1 bands, two such hashes have at least one band in common (Manku et al. 2007,
    doi:10.1145/1242572.1242592), so that only images that share a band are compared. A pair may come more than once.
    """
    edges = np.linspace(0, HASH_BITS, distance + 2).astype(int)
    for low, high in pairwise(edges):
        band = (hashes >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
        order = np.argsort(band, kind="stable")
        starts = np.flatnonzero(np.diff(band[order], prepend=band[order][:1] + np.uint64(1)))
        for rows in np.split(order, starts[1:]):
            yield from _close_in(rows, hashes, distance)


def _close_in(rows: NDArray[np.int64], hashes: Bits, distance: int) -> Iterator[Pairs]:
    """Compare every image of `rows` with all behind it, in blocks."""
    for start in range(len(rows) - 1):
        behind = rows[start + 1 :]
        bits = np.bitwise_count(hashes[behind] ^ hashes[rows[start]])
        close = behind[bits <= distance]
        for block in range(0, len(close), BLOCK):
            others = close[block : block + BLOCK]
            yield np.stack([np.full(len(others), rows[start]), others], axis=1)


def _correlated(pairs: Pairs, thumbnails: Thumbnails, limit: float) -> NDArray[np.bool_]:
    """Tell which pairs have thumbnails that are alike: a Pearson correlation over all pixels and channels of at least
    `limit`, or, where both are flat, the same mean colour.
    """
    one, other = (thumbnails[pairs[:, i]].astype(np.float32) for i in (0, 1))
    axes = (1, 2, 3)
    colours = np.abs(one.mean(axis=(1, 2)) - other.mean(axis=(1, 2))).max(axis=-1)
    one -= one.mean(axis=axes, keepdims=True)
    other -= other.mean(axis=axes, keepdims=True)
    spread = np.sqrt((one**2).mean(axis=axes)), np.sqrt((other**2).mean(axis=axes))
    correlation = (one * other).mean(axis=axes) / np.maximum(1e-12, spread[0] * spread[1])
    flat = np.maximum(*spread) < FLAT
    return np.asarray(np.where(flat, colours < FLAT, correlation >= limit), np.bool_)
