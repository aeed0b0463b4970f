#!/usr/bin/python3
"""Pictures per second of CPU time, by Pillow and by torchvision's transforms on it.

    pillow_speed.py FILE...     one core; started by bench_loader

Reads lines "WAY LOAD CROP SECONDS" and answers each with a number, or `none` where the package is
missing. WAY: pillow (decode, resize, crop, mirror, bytes), draft (the same, decoded at 1/2, 1/4 or 1/8
where that is large enough), torchvision and torchvision_draft (the reference's chain on these, with
conversion to a normalised tensor).
"""
import random
import sys
import time

from PIL import Image

try:
    import torch
    import torchvision.transforms as T
    torch.set_num_threads(1)
except ImportError:
    T = None


def opened(path, draft, load):
    im = Image.open(path)
    if draft:
        im.draft("RGB", (load, load))
    return im.convert("RGB")


def pillow(path, draft, load, crop):
    im = opened(path, draft, load).resize((load, load), Image.BICUBIC)
    x, y = random.randint(0, load - crop), random.randint(0, load - crop)
    im = im.crop((x, y, x + crop, y + crop))
    if random.random() < 0.5:
        im = im.transpose(Image.FLIP_LEFT_RIGHT)
    return im.tobytes()


def chain(load, crop):
    return T.Compose([T.Resize([load, load], T.InterpolationMode.BICUBIC), T.RandomCrop(crop),
                      T.RandomHorizontalFlip(), T.ToTensor(),
                      T.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])


def rate(way, load, crop, seconds):
    draft = way.endswith("draft")
    if way.startswith("torchvision"):
        if T is None:
            return None
        transform = chain(load, crop)
        work = lambda path: transform(opened(path, draft, load))
    else:
        work = lambda path: pillow(path, draft, load, crop)
    work(sys.argv[1])
    n, begun = 0, time.process_time()
    while time.process_time() - begun < seconds:
        work(sys.argv[1 + n % (len(sys.argv) - 1)])
        n += 1
    return n / (time.process_time() - begun)


for line in sys.stdin:
    way, load, crop, seconds = line.split()
    result = rate(way, int(load), int(crop), float(seconds))
    print("none" if result is None else "%.3f" % result, flush=True)
