"""Another program that translates, for bench_translate: PyTorch, or OpenCV's dnn.

  translate_peer.py torch|opencv SPEC WEIGHTS.safetensors ONNX THREADS

SPEC as torch_nets.make has it. Then a line in, a line out:
  once N H W IN OUT   one batch from a file of floats [N,3,H,W] to another: its seconds
  peak                most KiB that were resident
OpenCV reads ONNX and prepares itself for a size at its first run."""
import json
import os
import struct
import sys
import time

import numpy as np


def tensors_of(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    for key, t in json.loads(data[8:8 + n]).items():
        if key != "__metadata__":
            begin, end = t["data_offsets"]
            values = np.frombuffer(data[8 + n + begin:8 + n + end], np.float32)
            yield key, values.reshape(t["shape"]).copy()


def torch_net(spec, weights, threads):
    import torch
    import torch_nets
    torch.set_num_threads(threads)
    net = torch_nets.make(spec)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in tensors_of(weights)}, strict=True)
    return net.eval()  # dropout off; instance norm is the same in both modes


def torch_runner(spec, weights, onnx, threads):
    import torch
    net = torch_net(spec, weights, threads)

    def run(x):
        with torch.no_grad():
            return net(torch.from_numpy(x)).numpy()
    return run


def opencv_runner(spec, weights, onnx, threads):
    import cv2
    cv2.setNumThreads(threads)
    nets = {}

    def net_of():
        net = cv2.dnn.readNetFromONNX(onnx)
        net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
        return net

    def run(x):
        if x.shape not in nets:
            nets.clear()
            nets[x.shape] = net_of()
        nets[x.shape].setInput(x)
        return nets[x.shape].forward()
    return run


def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def main():
    sys.stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print
    who, spec, weights, onnx, threads = sys.argv[1:]
    run = {"torch": torch_runner, "opencv": opencv_runner}[who](spec, weights, onnx, int(threads))
    print("ready", flush=True)
    for line in sys.stdin:
        words = line.split()
        if words[0] == "peak":
            print(peak(), flush=True)
            continue
        n, h, w = map(int, words[1:4])
        x = np.fromfile(words[4], np.float32).reshape(n, 3, h, w)
        begun = time.perf_counter()
        y = run(x)
        took = time.perf_counter() - begun
        np.ascontiguousarray(y, np.float32).tofile(words[5])
        print(took, flush=True)


main()
