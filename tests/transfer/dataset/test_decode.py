"""Tests of transfer/dataset/decode.py: decoded right, or refused with a reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from transfer.core.arrays import Pixels
from transfer.core.spec import BLACK, Conversion, Resize
from transfer.dataset import decode as images
from transfer.dataset.decode import BadImageError

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3


def decode(path: Path, size: int, channels: int, conversion: Conversion = Conversion()) -> Pixels:  # noqa: B008
    return images.decode(path.read_bytes(), size, channels, conversion).pixels


def _save(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def test_grey_of_the_same_size_is_unchanged(tmp_path: Path) -> None:
    decoded = decode(_save(Image.fromarray(GREY), tmp_path / "a.png"), 8, 1)
    np.testing.assert_array_equal(decoded[..., 0], GREY)


def test_colour_keeps_its_channels(tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4] = (250, 10, 20)
    np.testing.assert_array_equal(decode(_save(Image.fromarray(pixels), tmp_path / "a.png"), 8, 3), pixels)


def test_grey_becomes_colour_where_colour_is_wanted(tmp_path: Path) -> None:
    decoded = decode(_save(Image.fromarray(GREY), tmp_path / "a.png"), 8, 3)
    np.testing.assert_array_equal(decoded, np.repeat(GREY[..., None], 3, axis=2))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    wide = (GREY.astype(np.uint16) << 8) + 77
    decoded = decode(_save(Image.fromarray(wide), tmp_path / "a.png"), 8, 1)
    np.testing.assert_array_equal(decoded[..., 0], GREY)


STRIPE = np.repeat(np.array([[0, 60, 60, 200, 200, 250]], np.uint8), 2, axis=0)
"""Three squares side by side, the middle one half dark and half bright."""
MADE_SQUARE: dict[Resize, list[list[int]]] = {
    "crop": [[60, 200], [60, 200]],
    "pad": [[128] * 6, [128] * 6, *STRIPE.tolist(), [128] * 6, [128] * 6],
}


@pytest.mark.parametrize(("resize", "expected"), list(MADE_SQUARE.items()))
@pytest.mark.parametrize("lying", [True, False])
def test_an_elongated_image_keeps_its_ratio(resize: Resize, expected: list[list[int]], lying: bool) -> None:
    pixels, square = (STRIPE, np.array(expected)) if lying else (STRIPE.T, np.array(expected).T)
    decoded = images.decode(_encoded(pixels), len(square), 1, Conversion(resize=resize)).pixels[..., 0]
    np.testing.assert_array_equal(decoded, square)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_way_to_a_square_is_pillows(channels: int) -> None:
    """Also where the other side is odd, so that the padding is uneven."""
    random = np.random.default_rng(1)
    photo = Image.fromarray(random.integers(0, 256, (31, 93, 3), np.uint8)).convert("L" if channels == 1 else "RGB")
    grey: int | tuple[int, ...] = 128 if channels == 1 else (128, 128, 128)
    expected: dict[Resize, Image.Image] = {
        "squash": photo.resize((32, 32), Image.Resampling.BILINEAR),
        "crop": photo.resize((32, 32), Image.Resampling.BILINEAR, box=(31, 0, 62, 31)),
        "pad": Image.new(photo.mode, (32, 32), grey),
    }
    expected["pad"].paste(photo.resize((32, 11), Image.Resampling.BILINEAR), (0, 10))
    for resize, image in expected.items():
        decoded = images.decode(_encoded(np.asarray(photo)), 32, channels, Conversion(resize=resize)).pixels
        np.testing.assert_array_equal(decoded, np.asarray(image).reshape(32, 32, channels))


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_padding_does_not_hide_that_an_image_is_of_one_colour(resize: Resize) -> None:
    assert images.decode(_encoded(np.full((10, 30), 255, np.uint8)), 8, 1, Conversion(resize=resize)).flat


def _encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _wide(values: np.ndarray, sbit: int = 0, colour: int = 0) -> bytes:
    """A PNG of 16 bits a channel, of a colour type of the specification, with what sBIT says."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    said = _chunk(b"sBIT", bytes([sbit])) if sbit else b""
    return PNG_SIGNATURE + header + said + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _grey(data: bytes, conversion: Conversion = Conversion()) -> Pixels:  # noqa: B008
    return images.decode(data, 8, 1, conversion).pixels[..., 0]


RAMP = np.arange(64).reshape(8, 8)


def test_sixteen_bits_that_hold_eight_are_not_black() -> None:
    np.testing.assert_array_equal(_grey(_wide(RAMP * 4)), RAMP * 4)


@pytest.mark.parametrize("depth", [8, 10, 12, 14])
def test_all_levels_of_a_bit_depth_are_kept_and_what_is_above_is_white(depth: int) -> None:
    top = 2**depth - 1
    values = np.linspace(0, top, 64).round().astype(int).reshape(8, 8)
    expected = np.round(values * 255 / top)
    np.testing.assert_array_equal(_grey(_wide(values), Conversion(depth)), expected)
    values[0, 0] = min(65535, 2 * top)
    assert _grey(_wide(values), Conversion(depth))[0, 0] == 255


def test_the_bit_depth_is_the_smallest_that_holds_all_values() -> None:
    for bits, depth in ((1, 8), (8, 8), (9, 10), (12, 12), (13, 14), (15, 16), (16, 16)):
        facts = images.decode(_wide(RAMP + 2**bits - 64 if bits > 6 else RAMP % 2), 8, 1, Conversion()).facts
        assert facts.conversion(None, None).bit_depth == depth
        assert (facts + images.Facts(bits=11)).conversion(None, None).bit_depth == max(12, depth)
        assert facts.conversion(9, None).bit_depth == 9
    assert images.decode(_png(), 8, 1, Conversion()).facts.conversion(None, None) == Conversion()


def test_significant_bits_count_unless_values_were_stretched() -> None:
    np.testing.assert_array_equal(_grey(_wide(RAMP * 8, sbit=12)), np.round(RAMP * 8 * 255 / 4095))
    stretched = RAMP * 1024
    np.testing.assert_array_equal(_grey(_wide(stretched, sbit=12)), stretched >> 8)


def test_what_becomes_one_grey_is_lost_and_what_was_one_is_not() -> None:
    dark = _wide(RAMP * 4)
    assert images.decode(dark, 8, 1, Conversion(16)).lost.startswith(
        "its 16-bit values, 0 to 252, all map to one grey level at 16 bits"
    )
    with pytest.raises(
        BadImageError, match="all map to one grey level at 16 bits: give the right bit_depth in the dataset's card"
    ):
        images.decode_pixels(dark, 8, 1, Conversion(16))
    assert images.decode(_wide(RAMP * 1000 + 2000), 8, 1, Conversion(8)).lost
    for values in (RAMP * 0, RAMP * 0 + 200, RAMP * 0 + 40_000, RAMP + 40_000):
        decoded = images.decode(_wide(values), 8, 1, Conversion(16))
        assert (decoded.lost, decoded.flat) == ("", True)
    assert not images.decode(_wide(RAMP * 1000), 8, 1, Conversion(16)).flat


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_sixteen_bits_that_would_be_black_are_lost(channels: int) -> None:
    colour = {3: 2, 4: 6}[channels]
    low = np.repeat(RAMP[..., None] * 4, channels, axis=2)
    decoded = images.decode(_wide(low, colour=colour), 8, 3, Conversion())
    assert decoded.lost.startswith("its 16-bit colours are all below 4,096 of 65,535")
    high = np.repeat(RAMP[..., None] * 1000, channels, axis=2)
    assert images.decode(_wide(high, colour=colour), 8, 3, Conversion()).lost == ""


def _ink(colour: tuple[int, int, int], paper: int = 0) -> bytes:
    """A square of a colour on a transparent background."""
    image = Image.new("RGBA", (20, 20), (*colour, paper))
    image.paste((*colour, 255), (5, 5, 15, 15))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_ink_is_seen_on_the_background_that_suits_most_images() -> None:
    black, white, red = (_ink(colour) for colour in ((0, 0, 0), (255, 255, 255), (200, 0, 0)))
    found = {data: images.decode(data, 8, 3, Conversion()).facts for data in (black, white, red)}
    assert found[black].conversion(None, None).background == (255, 255, 255)
    assert found[white].conversion(None, None).background == (0, 0, 0)
    assert (found[white] + found[red]).conversion(None, None).background == (0, 0, 0)
    assert (found[white] + found[black]).conversion(None, None).background == (255, 255, 255)
    assert found[white].conversion(None, (9, 9, 9)).background == (9, 9, 9)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (90, 90, 90)])
def test_ink_of_the_colour_of_the_background_is_lost(colour: tuple[int, int, int]) -> None:
    data = _ink(colour)
    assert images.decode(data, 8, 3, Conversion(None, colour)).lost.startswith(
        "what it shows has the colour of the back"
    )
    other = images.decode(data, 8, 3, Conversion(None, (200, 100, 0)))
    assert other.lost == ""
    assert np.ptp(other.pixels) > 50
    nothing = images.decode(_ink(colour, 255), 8, 3, Conversion(None, colour))
    assert (nothing.lost, nothing.facts) == ("", images.Facts())


def test_an_alpha_channel_that_says_nothing_changes_nothing(tmp_path: Path) -> None:
    photograph = np.random.default_rng(0).integers(0, 256, (8, 8, 4), np.uint8)
    photograph[..., 3] = 255
    path = _save(Image.fromarray(photograph), tmp_path / "a.png")
    for background in ((255, 255, 255), BLACK):
        np.testing.assert_array_equal(decode(path, 8, 3, Conversion(None, background)), photograph[..., :3])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # no cyan: red
    decoded = decode(_save(image, tmp_path / "a.jpg", quality=95), 8, 3)
    assert decoded[..., 0].min() > 240
    assert decoded[..., 1:].max() < 15


@pytest.mark.parametrize(("orientation", "bright"), [(1, "top"), (3, "bottom"), (6, "right"), (8, "left")])
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, bright: str) -> None:
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(_save(Image.fromarray(pixels), tmp_path / "a.jpg", exif=exif, quality=95), 16, 1)[..., 0]
    halves = {"top": decoded[:7], "bottom": decoded[9:], "left": decoded[:, :7], "right": decoded[:, 9:]}
    assert halves[bright].min() > 200
    assert decoded.mean() == pytest.approx(127, abs=8)


def test_transparent_pixels_show_the_background(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[:4, :, 3] = 0
    pixels[4:, :, 3] = 255
    path = _save(Image.fromarray(pixels), tmp_path / "a.png")
    for background in ((255, 255, 255), BLACK, (10, 20, 30)):
        decoded = decode(path, 8, 3, Conversion(None, background))
        assert (decoded[:4] == background).all()
        assert (decoded[4:] == 200).all()


def test_a_palette_and_one_bit_are_decoded(tmp_path: Path) -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0)).convert("P")
    assert tuple(decode(_save(red, tmp_path / "a.gif"), 8, 3)[0, 0]) == (255, 0, 0)
    white = Image.new("1", (8, 8), 1)
    assert (decode(_save(white, tmp_path / "b.png"), 8, 1) == 255).all()


def test_large_images_are_averaged_and_not_sampled(tmp_path: Path) -> None:
    """A chessboard of single pixels is grey from afar."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    decoded = decode(_save(Image.fromarray(board), tmp_path / "a.png"), 8, 1)
    assert 100 < decoded.min() <= decoded.max() < 155


COLOUR = np.stack([GREY, 255 - GREY, np.full_like(GREY, 90)], axis=-1)
LOSSLESS = [
    ("a.bmp", {}), ("a.tiff", {}), ("b.tiff", {"compression": "tiff_lzw"}), ("c.tiff", {"compression": "tiff_deflate"}),
    ("a.webp", {"lossless": True}), ("a.png", {"compress_level": 9}), ("a.ppm", {}), ("a.tga", {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), LOSSLESS, ids=[f"{name} {options}" for name, options in LOSSLESS])
def test_formats_without_loss_give_every_pixel(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    path = _save(Image.fromarray(COLOUR), tmp_path / name, **options)
    np.testing.assert_array_equal(decode(path, 8, 3), COLOUR)


def _smooth(size: int = 64) -> np.ndarray:
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    return np.stack([np.tile(ramp, (size, 1)), np.tile(ramp[:, None], (1, size)), np.full((size, size), 90)], axis=-1)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "subsampling": 2}], ids=str)
def test_jpegs_baseline_and_progressive_give_the_same_picture(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = _smooth().astype(np.uint8)
    path = _save(Image.fromarray(pixels), tmp_path / "a.jpg", quality=95, **options)
    assert np.abs(decode(path, 64, 3).astype(int) - pixels).max() <= 12


def _interlaced(pixels: np.ndarray) -> bytes:
    """An Adam7-interlaced PNG (PNG specification, section 8.2), which Pillow reads and does not write."""
    height, width, _ = pixels.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b"".join(
        b"\0" + row.tobytes()
        for left, top, across, down in passes
        for row in pixels[top::down, left::across]
        if row.size
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def test_an_interlaced_png_gives_every_pixel(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_interlaced(COLOUR))
    with Image.open(path) as image:
        assert image.info["interlace"] == 1
    np.testing.assert_array_equal(decode(path, 8, 3), COLOUR)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tiff"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    options: dict[str, object] = {"save_all": True, "append_images": frames[1:]}
    if name == "a.webp":
        options["lossless"] = True
    path = _save(frames[0], tmp_path / name, **options)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 3
    assert (decode(path, 8, 3) == (255, 0, 0)).all()


def test_a_transparent_colour_of_a_palette_shows_the_background(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (0, 4, 8, 8))
    decoded = decode(_save(image, tmp_path / "a.png", transparency=0), 8, 3)
    assert (decoded[:4] == 255).all()
    assert (decoded[4:] == (0, 0, 255)).all()


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _bomb() -> bytes:
    """A PNG of a few bytes that claims 100,000 × 100,000 pixels."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_png()[:1500], "truncated"),
        (b"", "cannot identify"),
        (b"no image at all, whatever its name says", "cannot identify"),
        (_bomb(), "DecompressionBomb"),
    ],
    ids=["truncated", "zero-byte", "text", "bomb"],
)
def test_a_bad_file_is_refused_with_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadImageError, match=reason) as error:
        images.decode(content, 8, 1, Conversion())
    assert "BytesIO" not in str(error.value)


def test_thirty_two_bits_a_channel_are_refused(tmp_path: Path) -> None:
    image = Image.fromarray(np.ones((8, 8), np.float32))
    with pytest.raises(BadImageError, match=r"expected 8 or 16 bits a channel, received 32 \(mode F\)"):
        decode(_save(image, tmp_path / "a.tiff"), 8, 1)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 3000), st.integers(0, 255))
def test_any_damage_is_decoded_or_refused(noise: bytes, place: int, value: int) -> None:
    png = bytearray(_png())
    png[place % len(png)] = value
    for content in (bytes(png), bytes(png[: place % len(png)]), noise, bytes(png[:40]) + noise):
        try:
            decoded = images.decode(content, 8, 3, Conversion()).pixels
        except BadImageError as error:
            assert str(error)
        else:
            assert decoded.shape == (8, 8, 3)
            assert decoded.dtype == np.uint8


@pytest.mark.parametrize("suffix", [".avif", ".heic", ".webp"])
def test_photographs_of_phones_and_of_the_web_are_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".heic":
        pytest.importorskip("pillow_heif")
    assert suffix in images.IMAGE_SUFFIXES
    photograph = _save(Image.new("RGB", (64, 48), (200, 60, 40)), tmp_path / f"a{suffix}", quality=90)
    assert np.abs(decode(photograph, 8, 3).astype(int) - (200, 60, 40)).max() < 6
