"""PNG of any mode and FITS: the pixels that come out follow the recorded rule, compared with Pillow and astropy."""

from __future__ import annotations

import builtins
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip
from astropy.visualization import AsinhStretch, AsymmetricPercentileInterval, ManualInterval
from PIL import Image

from seti_model.data.kind import PixelRule
from seti_model.data.sources.archive import read_npz
from seti_model.data.sources.folder import read_folder
from seti_model.data.sources.pictures import default_scale, picture_files, read_picture
from seti_model.data.sources.unlabelled import read_unlabelled
from seti_model.errors import DatasetError

RULE = PixelRule()


def ramp(dtype=np.float32, shape=(20, 30), seed=1):
    values = np.random.default_rng(seed).gamma(2.0, 3.0, shape)
    return values.astype(dtype) if np.dtype(dtype).kind == "f" else (values / values.max() * 60000).astype(dtype)


def write_fits(path, data, **header):
    unit = fits.PrimaryHDU(data)
    unit.header.update(header)
    unit.writeto(path)
    return path


# PNG


def save(tmp_path, image, **options):
    image.save(tmp_path / "a.png", **options)
    return tmp_path / "a.png"


def test_sixteen_bits_are_divided_by_their_range(tmp_path):
    values = np.array([[0, 256, 257], [32768, 65278, 65535]], np.uint16)
    pixels = read_picture(save(tmp_path, Image.fromarray(values)), RULE).pixels[..., 0]
    assert pixels.tolist() == np.rint(values / 257).astype(int).tolist()


def test_a_palette_gives_its_colours_and_a_bit_black_and_white(tmp_path):
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 0], colours[1, 1] = (255, 0, 0), (0, 0, 255)
    palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(read_picture(save(tmp_path, palette), None).pixels, colours)
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_picture(save(tmp_path, bits), None).pixels[..., 0].tolist() == [[0, 255]]


def test_what_lies_under_transparent_pixels_is_said(tmp_path):
    file = save(tmp_path, Image.new("RGBA", (3, 2), (200, 100, 0, 51)))
    assert read_picture(file, PixelRule(ground=255)).pixels[0, 0].tolist() == [244, 224, 204]
    with pytest.raises(DatasetError, match=r"6 of 6 pixels are transparent; say what lies under them \(--ground 0\)"):
        read_picture(file, RULE)


def test_a_colour_declared_transparent_is_transparent(tmp_path):
    file = save(tmp_path, Image.new("L", (3, 2), 7), transparency=7)
    assert read_picture(file, PixelRule(ground=0)).pixels.max() == 0


def test_grey_is_luminance_and_rgb_repeats(tmp_path):
    file = save(tmp_path, Image.new("RGB", (3, 2), (200, 100, 50)))
    assert read_picture(file, PixelRule(colour="grey")).pixels[0, 0].tolist() == [round(59.8 + 58.7 + 5.7)]
    file = save(tmp_path, Image.new("L", (3, 2), 9))
    assert read_picture(file, PixelRule(colour="rgb")).pixels[0, 0].tolist() == [9, 9, 9]


@pytest.mark.parametrize("name", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_another_size_is_that_of_pillow(tmp_path, name):
    values = ramp(shape=(12, 18))
    grey = (values / values.max() * 255).astype(np.uint8)
    file = save(tmp_path, Image.fromarray(grey))
    found = read_picture(file, PixelRule(size=(7, 10), filter=name)).pixels[..., 0]
    exact = Image.fromarray(grey.astype(np.float32)).resize((10, 7), Image.Resampling[name.upper()])
    assert np.array_equal(found, np.clip(np.rint(np.asarray(exact)), 0, 255))


# FITS against astropy


def test_eight_bits_stay_as_they_are(tmp_path):
    values = ramp(np.uint16).astype(np.uint8)
    assert np.array_equal(read_picture(write_fits(tmp_path / "a.fits", values), None).pixels[..., 0], values)
    assert default_scale(tmp_path / "a.fits") == "range"


def test_sixteen_bits_with_bzero_are_those_that_astropy_reads(tmp_path):
    values = ramp(np.uint16)
    file = write_fits(tmp_path / "a.fits", values)
    with fits.open(file) as units:
        assert units[0]._orig_bzero == 32768
    assert np.array_equal(read_picture(file, RULE).pixels[..., 0], np.rint(values / 257))
    assert default_scale(file) == "percentile"


@pytest.mark.parametrize("scale", ["percentile", "asinh"])
def test_float_with_nan_is_scaled_as_astropy_does(tmp_path, scale):
    values = ramp()
    values[3:5, 7] = np.nan
    values[0, 0] = np.inf
    picture = read_picture(write_fits(tmp_path / "a.fits", values), PixelRule(scale=scale, low=1.0, high=98.0))
    limits = AsymmetricPercentileInterval(1, 98).get_limits(values[np.isfinite(values)])
    expected = ManualInterval(*limits)(values.astype(np.float64), clip=True)
    expected = AsinhStretch(0.1)(expected) if scale == "asinh" else expected
    expected[~np.isfinite(values)] = 0
    assert np.array_equal(picture.pixels[..., 0], np.rint(255 * expected))
    assert picture.not_finite == 3


def test_sigma_clipping_is_that_of_astropy(tmp_path):
    values = ramp()
    values[2, 2] = 1e6
    kept = sigma_clip(values, sigma=3, maxiters=5, masked=False)
    expected = ManualInterval(kept.min(), kept.max())(values.astype(np.float64), clip=True)
    found = read_picture(write_fits(tmp_path / "a.fits", values), PixelRule(scale="sigma_clip")).pixels[..., 0]
    assert np.array_equal(found, np.rint(255 * expected))


def test_bscale_and_blank_are_applied(tmp_path):
    stored = np.array([[0, 10], [20, -1]], np.int16)
    file = write_fits(tmp_path / "a.fits", stored, BLANK=-1)
    data = bytearray(file.read_bytes())
    card = b"BSCALE  =                  0.5".ljust(80) + b"BZERO   =                  1.0".ljust(80) + b"END".ljust(80)
    at = data.index(b"END".ljust(80))
    data[at : at + len(card)] = card
    file.write_bytes(data)
    picture = read_picture(file, PixelRule(scale="percentile", low=0, high=100))
    assert picture.not_finite == 1
    assert picture.pixels[..., 0].tolist() == [[0, 128], [255, 0]]  # 1, 6, 11


@pytest.mark.parametrize("stored", [np.arange(-4, 4).astype(np.int16), np.arange(8).astype(np.uint8)])
@pytest.mark.parametrize("zero", [0, 32768, -128, 7.5])
@pytest.mark.parametrize("blank", [None, 0, 3])
def test_values_are_those_of_the_standard_blank_or_not(tmp_path, stored, zero, blank):
    """BZERO + BSCALE times what is stored, and no value where BLANK is stored: FITS standard 4.0, 4.4.2."""
    unit = fits.PrimaryHDU(stored.reshape(2, 4), do_not_scale_image_data=True)
    unit.header["BZERO"] = zero
    if blank is not None:
        unit.header["BLANK"] = blank
    fits.HDUList([unit]).writeto(tmp_path / "a.fits", output_verify="ignore")
    values = zero + stored.astype(float)
    values[stored == blank] = np.nan
    low, high = np.nanmin(values), np.nanmax(values)
    expected = np.nan_to_num(np.rint(255 * (values - low) / (high - low)))
    found = read_picture(tmp_path / "a.fits", PixelRule(scale="percentile", low=0, high=100))
    assert found.pixels.ravel().tolist() == expected.tolist()
    assert found.not_finite == np.isnan(values).sum()


def test_a_picture_in_packed_tiles_is_not_unpacked(tmp_path):
    packed = fits.CompImageHDU(ramp(np.int16), compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "a.fits")
    with pytest.raises(DatasetError, match=r"give a file that has one, a packed one unpacked \(funpack\)"):
        read_picture(tmp_path / "a.fits", PixelRule(scale="percentile"))


def test_the_largest_numbers_are_scaled_without_a_word(tmp_path):
    file = write_fits(tmp_path / "a.fits", np.array([[-1.7e308, 0.0, 1.7e308]]))
    found = read_picture(file, PixelRule(scale="percentile", low=0, high=100))
    assert found.pixels[0, :, 0].tolist() == [0, 128, 255]


def test_clipping_that_leaves_nothing_is_refused(tmp_path):
    file = write_fits(tmp_path / "a.fits", np.array([[0.0, 1.0] * 4]))
    with pytest.raises(DatasetError, match=r"nothing lies within 0.5 deviations of the median; give a larger --sigma"):
        read_picture(file, PixelRule(scale="sigma_clip", sigma=0.5))


def test_values_that_a_mode_makes_are_counted(tmp_path):
    save(tmp_path, Image.new("P", (3000, 2100)), transparency=0)
    with pytest.raises(DatasetError, match=r"3000 x 2100 pixels of mode P, at most 16777216 values are read"):
        read_picture(tmp_path / "a.png", RULE)


def test_a_transparent_value_of_sixteen_bits_is_refused(tmp_path):
    plain = save(tmp_path, Image.fromarray(np.zeros((2, 3), np.uint16))).read_bytes()
    at = plain.index(b"IDAT") - 4
    chunk = b"tRNS\x00\x00"
    (tmp_path / "a.png").write_bytes(
        plain[:at] + struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk)) + plain[at:]
    )
    with pytest.raises(DatasetError, match=r"a value of mode I;16 is transparent; save it without, or with an alpha"):
        read_picture(tmp_path / "a.png", PixelRule(ground=0))


def test_a_name_that_no_record_can_hold_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff.png")).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"a/.*: is no name in UTF-8; rename it"):
        picture_files(tmp_path)


def test_a_picture_without_a_finite_value_is_black(tmp_path):
    picture = read_picture(write_fits(tmp_path / "a.fits", np.full((2, 3), np.nan)), PixelRule(scale="asinh"))
    assert picture.not_finite == 6
    assert picture.pixels.max() == 0


def test_the_first_picture_of_several_units_is_read_and_axes_of_length_one_are_none(tmp_path):
    values = np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values), fits.ImageHDU(1 + values)]).writeto(tmp_path / "a.fits")
    assert read_picture(tmp_path / "a.fits", None).pixels[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    write_fits(tmp_path / "b.fits", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    assert read_picture(tmp_path / "b.fits", None).pixels[0, 1].tolist() == [1, 5, 9]


@pytest.mark.parametrize(
    ("make", "rule", "message"),
    [
        (lambda p: write_fits(p, ramp()), RULE, r"float32 have no range; choose another --scale, such as percentile"),
        (
            lambda p: write_fits(p, ramp()),
            None,
            r"type float32, and nothing says how they become 8-bit pixels; convert",
        ),
        (
            lambda p: write_fits(p, np.zeros((4, 5, 6), np.uint8)),
            RULE,
            r"no image of two axes, or of three colours; give",
        ),
        (
            lambda p: write_fits(p, np.zeros(4, np.uint8)),
            RULE,
            r"no image of two axes, or of three colours; give a file",
        ),
        (
            lambda p: p.write_bytes(b"\x1f\x8b no"),
            RULE,
            r"cannot be read as FITS \(it begins with '.* no', not with SIMPLE",
        ),
        (lambda p: p.write_bytes(b""), RULE, r"cannot be read as FITS"),
        (lambda p: None, RULE, r"a.fits: no such file; check the path"),
        (lambda p: p.mkdir(), RULE, r"a.fits: cannot be read as FITS \(.*Is a directory.*\); replace it"),
        (lambda p: claim_axes(p), RULE, r"cannot be read as FITS \(NAXIS is 99999999, at most 999 is possible\)"),
        (lambda p: claim(p), RULE, r"70000 x 70000 values, at most 16777216 values are read; make it smaller"),
        (lambda p: tear(write_fits(p, np.zeros((90, 90), np.uint8))), RULE, r"cannot be read as FITS .*; replace it"),
    ],
)
def test_unusable_fits_is_refused(tmp_path, make, rule, message):
    make(tmp_path / "a.fits")
    with pytest.raises(DatasetError, match=message):
        read_picture(tmp_path / "a.fits", rule)


def claim_axes(file):
    data = write_fits(file, np.zeros((7, 7), np.uint8)).read_bytes()
    file.write_bytes(data.replace(b"NAXIS   =                    2", b"NAXIS   =             99999999"))


def claim(file):
    data = write_fits(file, np.zeros((70, 70), np.uint8)).read_bytes()
    old = b"                   70"
    assert data.count(old) == 2
    file.write_bytes(data.replace(old, b"                70000"))


def tear(file):
    file.write_bytes(file.read_bytes()[:4000])


@pytest.mark.filterwarnings("error")
def test_a_signalling_nan_is_a_value_that_is_not_finite(tmp_path):
    values = np.ones((4, 5), ">f4")
    values.view(">u4")[1, 2] = 0x7F800001  # IEEE 754: the quiet bit is not set
    picture = read_picture(write_fits(tmp_path / "a.fits", values), PixelRule(scale="percentile"))
    assert picture.not_finite == 1


def test_without_astropy_one_line_says_how_to_get_it(tmp_path, monkeypatch):
    file = write_fits(tmp_path / "a.fits", ramp())
    png = save(tmp_path, Image.new("L", (3, 2), 9))
    real = builtins.__import__

    def absent(name, *rest):
        if name.startswith("astropy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(DatasetError, match=r"a.fits: FITS needs astropy; run: pip install 'seti-tune\[fits\]'"):
        read_picture(file, RULE)
    with pytest.raises(DatasetError, match=r"sigma clipping needs astropy; run: pip install 'seti-tune\[fits\]'"):
        read_picture(png, PixelRule(scale="sigma_clip"))


# Whole sets


def test_the_same_galaxies_as_fits_give_the_pixels_of_the_archive(real_data, tmp_path):
    read = read_npz(real_data / "frdeep_first_600x150x150.npz")
    rows = [*range(0, 600, 60), *np.flatnonzero(read.data.labels == 1)[:10]]
    for row in rows:
        folder = tmp_path / read.class_names[read.data.labels[row]]
        folder.mkdir(exist_ok=True)
        if not (folder / f"{row:04d}.fits").exists():
            write_fits(folder / f"{row:04d}.fits", read.data.images[row, ..., 0])
    again = read_folder(tmp_path, RULE)
    assert again.data.source is not None
    for image, label, file in zip(again.data.images, again.data.labels, again.data.source.files, strict=True):
        assert np.array_equal(image, read.data.images[int(file.stem)])
        assert again.class_names[label] == read.class_names[read.data.labels[int(file.stem)]]


def test_folders_of_splits_say_the_split_of_each_image(tmp_path):
    for split in ("train", "validation"):
        for name in ("b", "a"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("L", (3, 2), 9).save(tmp_path / split / name / "0.png")
    read = read_folder(tmp_path)
    assert read.class_names == ("a", "b")
    assert read.split_of is not None
    assert read.split_of.tolist() == ["train", "train", "validation", "validation"]
    (tmp_path / "validation" / "a").rename(tmp_path / "validation" / "c")
    with pytest.raises(DatasetError, match=r"validation: classes b, c, but .*train has a, b; make them the same"):
        read_folder(tmp_path)


def test_new_files_become_pixels_by_the_same_rule(tmp_path):
    values = ramp()
    values[0, 0] = np.nan
    write_fits(tmp_path / "a.fits", values)
    rule = PixelRule(size=(8, 9), scale="asinh")
    found = read_unlabelled(tmp_path, (8, 9, 1), rule)
    assert np.array_equal(found.images[0], read_picture(tmp_path / "a.fits", rule).pixels)
    assert picture_files(tmp_path) == [tmp_path / "a.fits"]
    with pytest.raises(
        DatasetError, match=r"a.fits: the model brings pictures to \(8, 9\) and expects \(8, 8\); export it"
    ):
        read_unlabelled(tmp_path, (8, 8, 1), rule)
