#!/usr/bin/env python3
"""gpu_table.py FOLDER WAY... -- SHAPE... - what gpu.sh has measured, ours beside PyTorch's.

Of a shape, FOLDER has SHAPE.ours (a JSON line for each dtype, by gpu_check), and of each way
SHAPE.WAY.json (by torch_step.py) or SHAPE.WAY.failed (why it has none).
"""
import json
import os
import sys

SPEED = {1: 3.0, 4: 2.0}    # by batch; all others:
SPEED_ELSE = 1.5
MEMORY = 0.5


def read(path):
    try:
        with open(path) as f:
            return [json.loads(line) for line in f if line.startswith("{")]
    except OSError:
        return []


def said(good):
    return "reached" if good else "missed"


def row(name, ms, low, high, mib, note=""):
    print(f"  {name:24} {ms:9.3f} ({low:.3f}-{high:.3f}) ms {mib:9.0f} MiB  {note}")


def peers_of(folder, shape, ways):
    peers = {}
    for way in ways:
        found = read(f"{folder}/{shape}.{way}.json")
        if found:
            peers[way] = found[-1]
            continue
        failed = f"{folder}/{shape}.{way}.failed"
        why = open(failed).read().strip() if os.path.exists(failed) else "no time yet"
        print(f"  PyTorch {way:16} not run: {why}")
    for way, p in peers.items():
        row("PyTorch " + way, p["median_s_per_step"] * 1e3, p["low_s"] * 1e3, p["high_s"] * 1e3,
            p.get("peak_gpu_mb", p["peak_rss_mb"]), f"reserved {p.get('reserved_gpu_mb', 0)} MiB")
    return peers


def table(folder, shape, ways):
    print(f"{shape}: median of a step (10 % to 90 %), the most memory")
    ours = {r["dtype"]: r for r in read(f"{folder}/{shape}.ours")}
    for dtype, r in ours.items():
        row("ours " + dtype, r["ahead_ms"], r["low_ms"], r["high_ms"], r["peak_mib"],
            f"waited for {r['waited_ms']:.3f}, with the exchange {r['exchange_ms']:.3f} ms")
    peers = peers_of(folder, shape, ways)
    if not ours or not peers:
        print("  not run: " + ("PyTorch's" if ours else "our") + " step\n")
        return
    best = min(peers.values(), key=lambda p: p["median_s_per_step"])
    bar = SPEED.get(int(shape.split(",")[2]), SPEED_ELSE)
    for dtype, r in ours.items():
        speed = best["median_s_per_step"] * 1e3 / r["ahead_ms"]
        share = r["peak_mib"] / best.get("peak_gpu_mb", best["peak_rss_mb"])
        print(f"  {dtype}: {speed:.2f} times as fast as {best['label']}, at least {bar}: "
              f"{said(speed >= bar)}; {share:.2f} of its memory, at most {MEMORY}: "
              f"{said(share <= MEMORY)}")
    print()


def main():
    cut = sys.argv.index("--")
    for shape in sys.argv[cut + 1:]:
        table(sys.argv[1], shape, sys.argv[2:cut])


if __name__ == "__main__":
    main()
