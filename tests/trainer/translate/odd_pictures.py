"""Pictures of unusual kinds, and beside them what they are, for test_translate.

  odd_pictures.py DIR

Writes DIR/odd/NAME, and as plain RGB PNGs DIR/plain/NAME.png: what the kind's definition makes of it
as docs/pictures.md says (alpha dropped, orientation ignored); DIR/turned/NAME.png with the
orientation applied and alpha on white. Pillow is the judge, except where it has no such pixels.
DIR/refused/ holds kinds that are not read."""
import os
import struct
import sys
import zlib

import numpy as np
from PIL import Image, ImageOps

W, H = 30, 22
rng = np.random.default_rng(5)


def noise(channels, top=256, kind=np.uint8):
    return rng.integers(0, top, (H, W, channels), kind)


def png16(path, values):
    """Colour of 16 bits, which Pillow does not write. values [h,w,c], c 1 gray, 3 RGB, 4 RGBA."""
    def chunk(name, data):
        return (struct.pack(">I", len(data)) + name + data +
                struct.pack(">I", zlib.crc32(name + data)))
    h, w, c = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {1: 0, 3: 2, 4: 6}[c]
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, kind, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def on_white(im):
    im = im.convert("RGBA")
    white = Image.new("RGBA", im.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, im).convert("RGB")


def main(folder):
    for name in ("odd", "plain", "turned", "refused"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)

    def tell(name, plain, turned=None):
        stem = os.path.splitext(name)[0]
        plain.convert("RGB").save(f"{folder}/plain/{stem}.png")
        (turned or plain).convert("RGB").save(f"{folder}/turned/{stem}.png")

    def put(im, name, turned=None, **options):
        im.save(f"{folder}/odd/{name}", **options)
        with Image.open(f"{folder}/odd/{name}") as back:
            tell(name, back, turned(back) if turned else None)

    colour = Image.fromarray(noise(3))
    half = np.concatenate([noise(3), np.where(noise(1) < 128, 0, 255).astype(np.uint8)], 2)
    put(Image.fromarray(half), "alpha.png", on_white)
    put(Image.fromarray(half).convert("LA"), "gray_alpha.png", on_white)
    put(Image.fromarray(half), "alpha.webp.webp", on_white, lossless=True, exact=True)
    put(colour.convert("P", palette=Image.ADAPTIVE, colors=11), "palette.png")
    clear = colour.convert("P", palette=Image.ADAPTIVE, colors=200)
    put(clear, "palette_clear.png", on_white, transparency=7)
    put(Image.fromarray(noise(1)[:, :, 0]), "gray.png")
    put(Image.fromarray(noise(1)[:, :, 0]), "gray.jpg.jpg", quality=95)
    put(colour.convert("1"), "bits.png")
    put(colour.convert("CMYK"), "cmyk.jpg", quality=95)
    for how in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = how
        put(colour, f"exif_{how}.jpg", ImageOps.exif_transpose, exif=exif, quality=95)
    gray, rgb, rgba = noise(1, 65536, np.uint16), noise(3, 65536, np.uint16), noise(4, 65536, np.uint16)
    rgba[:, :, 3] = np.where(rgba[:, :, 3] < 32768, 0, 65535)
    for name, values in (("gray16.png", gray), ("rgb16.png", rgb), ("rgba16.png", rgba)):
        png16(f"{folder}/odd/{name}", values)
    tell("gray16.png", Image.fromarray((gray >> 8).astype(np.uint8)[:, :, 0]))
    high = (rgba >> 8).astype(np.uint8)
    tell("rgb16.png", Image.fromarray((rgb >> 8).astype(np.uint8)))
    tell("rgba16.png", Image.fromarray(high[:, :, :3].copy()), on_white(Image.fromarray(high)))
    for name in ("a.gif", "b.bmp", "c.tif", "d.ppm", "e.jp2"):
        colour.save(f"{folder}/refused/{name}")
    colour.save(f"{folder}/refused/named.png", "TIFF")


main(sys.argv[1])
