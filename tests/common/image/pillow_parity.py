#!/usr/bin/python3
"""Compares decoding and preprocessing with Pillow, byte for byte.

    pillow_parity.py TEST_IMAGE_PROGRAM DATA_FOLDER [PICTURES]

The program reads requests "FILE PREPROCESS LOAD CROP X Y FLIP HOW", tab separated, from standard
input and answers each with a line "W H C" and the bytes, or "error TEXT". HOW holds `e` for EXIF's
orientation, `w` for transparency on white, `d` for decoding no larger than LOAD x LOAD needs, `r` for
decoding into the resize as the loaders do. Pillow stands for the reference here: open, convert("RGB"),
resize, crop, transpose.
Last line: "N compared, N files, N decoded smaller, N differ, N refused". Exit status 1 if any differ, 77 without data or Pillow.
"""
import os
import random
import subprocess
import sys
import tempfile
import warnings

try:
    from PIL import Image, ImageOps, PngImagePlugin
except ImportError:
    sys.exit(77)

warnings.simplefilter("ignore")
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 26  # a bomb in a text harms only those who read texts
MODES = ["resize_and_crop", "resize", "crop", "scale_width", "scale_width_and_crop", "none"]
SIZES = [(286, 256), (143, 128), (64, 64), (300, 50)]


def rgb_of(im):
    """convert("RGB"), but for deep gray, which Pillow saturates up to 10: its high byte, as from 11 on."""
    if im.mode in ("I", "I;16"):
        im = Image.frombytes("L", im.size, im.convert("I").tobytes()[1::4])
    return im.convert("RGB")


def scaled(im, mode, load, crop):
    w, h = im.size
    if mode in ("resize_and_crop", "resize"):
        return im.resize((load, load), Image.BICUBIC)
    if mode.startswith("scale_width"):
        if w == load and h >= crop:
            return im
        return im.resize((load, int(max(load * h / w, crop))), Image.BICUBIC)
    if mode == "none":
        size = int(round(w / 4) * 4) or 4, int(round(h / 4) * 4) or 4
        return im if size == (w, h) else im.resize(size, Image.BICUBIC)
    return im


def expected(im, mode, load, crop, x, y, flip):
    im = scaled(im, mode, load, crop)
    if mode.endswith("crop") and (im.width > crop or im.height > crop):
        im = im.crop((x, y, x + crop, y + crop))
    return im.transpose(Image.FLIP_LEFT_RIGHT) if flip else im


class Program:
    def __init__(self, path):
        self.process = subprocess.Popen([path, "--serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, *fields):
        self.process.stdin.write("\t".join(map(str, fields)).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode(errors="replace").rstrip("\n")
        if line.startswith("error "):
            return line[6:], None
        w, h, c = map(int, line.split())
        return (w, h), self.process.stdout.read(w * h * c)


def pillow_rgb(path):
    try:
        with Image.open(path) as im:
            return rgb_of(im), None
    except Exception as e:  # whatever Pillow raises is its verdict
        return None, e


def check_file(program, path, im, stats, log):
    n = stats["files"]
    for i, mode in enumerate(MODES):
        load, crop = SIZES[(n + i) % len(SIZES)]
        big = scaled(im, mode, load, crop)
        x = max(0, big.width - crop) * (n % 5) // 4
        y = max(0, big.height - crop) * (n % 3) // 2
        flip = (n + i) % 2
        want = expected(im, mode, load, crop, x, y, flip)
        for how in ("", "r"):
            size, got = program.ask(path, mode, load, crop, x, y, flip, how)
            stats["compared"] += 1
            if got != want.tobytes():
                stats["differ"] += 1
                log(f"differs: {path} {mode} {load} {crop} {x} {y} {flip} {how}: {size}, "
                    f"want {want.size}")


def real_pictures(data, count):
    """An even choice from every folder but `nasty`, by name."""
    found = []
    for folder, _, names in os.walk(data):
        names = sorted(n for n in names if n.lower().endswith((".jpg", ".png")))
        if "nasty" not in folder:
            found += [os.path.join(folder, n) for n in names[:: max(1, len(names) // 12)][:12]]
    return sorted(found)[:: max(1, len(found) // count)][:count]


def make_pictures(folder):
    """Kinds that the real sets lack, written by Pillow."""
    rnd = random.Random(1)
    rgb = Image.frombytes("RGB", (61, 43), bytes(rnd.randrange(256) for _ in range(61 * 43 * 3)))
    rgb = rgb.resize((97, 71), Image.BICUBIC)
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    deep = Image.frombytes("I;16", (32, 16), bytes(rnd.randrange(256) for _ in range(1024)))
    dim = Image.frombytes("I;16", (32, 16), bytes(i % 2 and 0 or i % 256 for i in range(1024)))
    cmyk, palette = rgb.convert("CMYK"), rgb.quantize(16)
    png = [("rgb", rgb, {}), ("rgba", rgba, {}), ("gray", rgb.convert("L"), {}),
           ("alpha", rgba.convert("LA"), {}), ("bit", rgb.convert("1"), {}), ("deep", deep, {}),
           ("dim", dim, {}), ("palette", palette, {}), ("palette2", rgb.quantize(4), {"bits": 2}),
           ("palette_clear", palette, {"transparency": 3})]
    jpeg = [("s%d_q%d" % (s, q), rgb, {"subsampling": s, "quality": q})
            for s in (0, 1, 2) for q in (30, 75, 95)]
    jpeg += [("progressive", rgb, {"progressive": True}), ("optimised", rgb, {"optimize": True}),
             ("cmyk", cmyk, {}), ("gray", rgb.convert("L"), {}), ("one", rgb.resize((1, 1)), {})]
    webp = [("lossy", rgb, {}), ("lossless", rgb, {"lossless": True}), ("alpha", rgba, {}),
            ("alpha_lossless", rgba, {"lossless": True, "exact": True})]
    for ext, pictures in (("png", png), ("jpg", jpeg), ("webp", webp)):
        for name, im, options in pictures:
            path = os.path.join(folder, name + "." + ext)
            im.save(path, **options)
            yield path


def make_oriented(folder):
    """Photographs that were taken in each of the eight positions, or in none that exists."""
    im = Image.radial_gradient("L").resize((61, 47)).convert("RGB")
    im.paste((200, 30, 10), (5, 3, 30, 20))
    for ext in ("jpg", "png", "webp"):
        for orientation in range(0, 10):
            exif = Image.Exif()
            exif[0x0112] = orientation
            exif[0x010F] = "a camera"
            path = os.path.join(folder, f"oriented_{orientation}.{ext}")
            im.save(path, exif=exif)
            yield path


def on_white(im):
    alpha = im if "A" in im.mode or "transparency" in im.info else None
    white = Image.new("RGB", im.size, "white")
    if alpha:
        rgba = im.convert("RGBA")
        white.paste(rgba.convert("RGB"), mask=rgba.getchannel("A"))
        return white
    return rgb_of(im)


def check_choices(program, path, stats, log):
    """Orientation, transparency and reduced decoding against Pillow's own."""
    with Image.open(path) as im:
        wants = {"": rgb_of(im), "e": rgb_of(ImageOps.exif_transpose(im)),
                 "w": on_white(im)}
    for how, want in wants.items():
        size, got = program.ask(path, "crop", 1, 1 << 20, 0, 0, 0, how)
        stats["compared"] += 1
        if got != want.tobytes():
            stats["differ"] += 1
            log(f"differs: made {os.path.basename(path)} {how}: {size}")


def check_draft(program, path, stats, log):
    """Pillow knows halves, quarters and eighths only; asked for exactly those, we agree."""
    with Image.open(path) as im:
        w, h = im.size
    for part in (2, 4, 8):
        if im.format != "JPEG" or w % part or h % part or w != h:
            continue
        with Image.open(path) as im:
            im.draft("RGB", (w // part, h // part))
            want = rgb_of(im)
        size, got = program.ask(path, "resize", w // part, 1, 0, 0, 0, "d")
        stats["compared"] += 1
        stats["drafts"] += 1
        if got != want.tobytes():
            stats["differ"] += 1
            log(f"differs: {os.path.basename(path)} at 1/{part}: {size}, want {want.size}")


def check_made(program, stats, log):
    with tempfile.TemporaryDirectory() as folder:
        for path in list(make_pictures(folder)) + list(make_oriented(folder)):
            check_choices(program, path, stats, log)


def check_nasty(program, path, stats, log):
    im, failure = pillow_rgb(path)
    size, got = program.ask(path, "crop", 1, 1 << 20, 0, 0, 0, "")
    ours = "decoded" if got is not None else size
    log(f"nasty: {os.path.basename(path)}: {ours}; Pillow: {failure or im.size}")
    if got is None:
        stats["refused"] += 1
        return
    stats["compared"] += 1
    if im is None or got != im.tobytes():
        stats["differ"] += 1
        log(f"differs: {path}")
    else:
        check_choices(program, path, stats, log)


def main():
    if len(sys.argv) < 3 or not os.path.isdir(sys.argv[2]):
        sys.exit(77)
    program, data = Program(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 200
    stats = {"files": 0, "compared": 0, "drafts": 0, "differ": 0, "refused": 0}
    for path in real_pictures(data, count):
        im, failure = pillow_rgb(path)
        if im:
            check_file(program, path, im, stats, print)
            check_draft(program, path, stats, print)
            stats["files"] += 1
    check_made(program, stats, print)
    nasty = os.path.join(data, "nasty")
    for name in sorted(os.listdir(nasty)) if os.path.isdir(nasty) else []:
        check_nasty(program, os.path.join(nasty, name), stats, print)
    print("{compared} compared, {files} files, {drafts} decoded smaller, {differ} differ, "
          "{refused} refused".format(**stats))
    sys.exit(1 if stats["differ"] or stats["files"] < count or not stats["drafts"] else 0)


if __name__ == "__main__":
    main()
