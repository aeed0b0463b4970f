#!/usr/bin/python3
"""A curator of one's own: keeps bright pictures.

    curator = { A = { use = "exec"; root = "photos"; command = "docs/examples/keep_bright.py" } }

Candidates come as JSON lines on stdin, verdicts go as JSON lines to stdout, one for each; what is
printed to stderr goes into the log. Needs Pillow. BRIGHT in the environment moves the limit.
"""
import json
import os
import sys

from PIL import Image, ImageStat

LIMIT = float(os.environ.get("BRIGHT", "100"))  # mean luma, 0 to 255
kept = seen = 0

for line in sys.stdin:
    picture = json.loads(line)  # path, root, w, h, bytes
    with Image.open(os.path.join(picture["root"], picture["path"])) as image:
        luma = ImageStat.Stat(image.convert("L")).mean[0]
    keep = luma >= LIMIT
    seen += 1
    kept += keep
    verdict = {"path": picture["path"], "keep": keep, "reason": "ok" if keep else "dark",
               "score": round(luma, 3)}
    print(json.dumps(verdict), flush=True)

print(f"{kept} of {seen} pictures are bright", file=sys.stderr)
