"""PyTorch's and OpenCV's side of the tests of import and export.

  torch_peer.py write DIR     state dicts in both containers, inputs, and what PyTorch answers
  torch_peer.py check DIR     what `export` has made of them, run by PyTorch and by OpenCV
  torch_peer.py odd DIR [F]   files that are unusual, or none of ours; of width F
  torch_peer.py hostile DIR   files made to harm
"""
import json
import os
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import torch
from torch import nn

import torch_nets

# name: net, sizes of the pictures
GENERATORS = {
    "resnet_9": ("resnet:9,f=8", (64, 96), (128, 64)),
    "resnet_6_batch": ("resnet:6,f=8,norm=batch", (64, 96), (128, 64)),
    "resnet_6_none_dropout": ("resnet:6,f=8,norm=none,dropout=1", (64, 96), (32, 64)),
    "resnet_3": ("resnet:3,f=6,in_nc=1,out_nc=3", (32, 48), (64, 64)),
    "unet_128_batch": ("unet:7,f=8,dropout=1", (128, 256), (256, 128)),
    "unet_256_instance": ("unet:8,f=4,norm=instance", (256, 512), (512, 256)),
    "cut": ("resnet:9,f=8,antialias=1", (64, 96), (128, 64)),
    "cut_half": ("resnet:6,f=8,antialias=1,antialias_up=0", (64, 96), (128, 64)),
    "resize": ("resnet:6,f=8,resize=1", (64, 96), (128, 64)),
    "resnet_9_wide": ("resnet:9,f=64", (64, 64), (64, 96)),
}
DISCRIMINATORS = {
    "basic": "patch:3,f=8",
    "n_layers_2_batch": "patch:2,f=8,norm=batch,in_nc=6",
    "pixel": "pixel,f=8",
    "pixel_none": "pixel,f=8,norm=none",
    "basic_cut": "patch:3,f=8,antialias=1",
    "basic_none": "patch:3,f=8,norm=none",
}


def answer(net, x, running=False):
    """Without dropout; batch norm by each picture's own statistics, unless `running`."""
    net.eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d) and not running:
            m.train()
            m.momentum = 0.0
    with torch.no_grad():
        return torch.cat([net(x[i:i + 1]) for i in range(len(x))])


def pictures(name, k, channels, h, w):
    rng = np.random.default_rng([len(name), k, h, w])
    return torch.from_numpy(rng.uniform(-1, 1, (2, channels, h, w)).astype(np.float32))


def save(state, path, new):
    torch.save(state, path, _use_new_zipfile_serialization=new)


def channels_in(state):
    return next(v for k, v in state.items() if k.endswith("weight") and v.dim() == 4).shape[1]


def write(folder):
    for name, spec in {**{k: v[0] for k, v in GENERATORS.items()}, **DISCRIMINATORS}.items():
        state = torch_nets.make(spec).state_dict()
        save(state, f"{folder}/{name}.zip.pth", True)
        save(state, f"{folder}/{name}.legacy.pth", False)
    for name, (spec, *sizes) in GENERATORS.items():
        net = torch_nets.make(spec)
        for k, (h, w) in enumerate(sizes):
            x = pictures(name, k, channels_in(net.state_dict()), h, w)
            y = answer(net, x)
            with open(f"{folder}/{name}.{k}.cases", "wb") as f:
                f.write(struct.pack("<5i", 2, h, w, x.shape[1], y.shape[1]))
                f.write(x.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
                f.write(y.permute(0, 2, 3, 1).contiguous().numpy().tobytes())


# ---- what was exported ----


def read_safetensors(path):
    data = open(path, "rb").read()
    (n,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__")
    state = OrderedDict()
    for name, t in header.items():
        begin, end = t["data_offsets"]
        kind = {"F32": np.float32, "I64": np.int64}[t["dtype"]]
        values = np.frombuffer(data[8 + n + begin:8 + n + end], kind).reshape(t["shape"])
        state[name] = torch.from_numpy(values.copy())
    return state


def check_strict(folder, name, spec, kind):
    net = torch_nets.make(spec, seed=2)  # other weights
    want = torch_nets.make(spec).state_dict()
    net.load_state_dict(read_safetensors(f"{folder}/{name}.{kind}.safetensors"), strict=True)
    got = net.state_dict()
    same = list(got) == list(want) and all(torch.equal(got[k], want[k]) for k in want)
    return tell(same, f"{name}: what was exported from {kind} is not what PyTorch saved")


def tell(good, complaint):
    if not good:
        print("FAILED", complaint)
    return good


def run_onnx(path, x, net=None):
    import cv2
    if net is None:
        net = cv2.dnn.readNetFromONNX(path)
        # OpenCV 4.6 fuses a norm's scale once more at each new size.
        net.enableFusion(False)
    net.setInput(x.numpy())
    return net, net.forward()


def check_onnx(folder, name, spec, sizes, running):
    path = f"{folder}/{name}.{'running' if running else 'picture'}.onnx"
    module, net, worst = torch_nets.make(spec), None, 0.0
    for k, (h, w) in enumerate(sizes):
        x = pictures(name, k, channels_in(module.state_dict()), h, w)
        want = answer(module, x, running).numpy()
        for i in range(2):
            net, got = run_onnx(path, x[i:i + 1], net)
            worst = max(worst, float(np.abs(got - want[i:i + 1]).max()))
        if not (h, w) == sizes[-1]:
            continue
        _, both = run_onnx(path, x)  # a batch of two
        worst = max(worst, float(np.abs(both - want).max()))
    print(f"{name}{' (running)' if running else ''}: OpenCV differs from PyTorch by {worst:.2g}")
    return tell(worst < 1e-4, f"{name}: OpenCV's answer differs by {worst}")


def check(folder):
    good = True
    for name, (spec, *sizes) in GENERATORS.items():
        good &= check_strict(folder, name, spec, "zip") & check_strict(folder, name, spec, "legacy")
        good &= check_onnx(folder, name, spec, sizes, False)
        if "batch" in name:
            good &= check_onnx(folder, name, spec, sizes, True)
    for name, spec in DISCRIMINATORS.items():
        good &= check_strict(folder, name, spec, "zip")
    return good


# ---- unusual files ----


def deflated(path, source):
    with zipfile.ZipFile(source) as z, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for i in z.infolist():
            out.writestr(i.filename, z.read(i.filename))


class Zip64(zipfile.ZipInfo):
    """Sizes and offsets in zip64's extra fields, large or not."""

    def FileHeader(self, zip64=None):
        return super().FileHeader(True)


def as_zip64(path, source):
    limits = zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT
    with zipfile.ZipFile(source) as z:
        entries = [(i.filename, z.read(i.filename)) for i in z.infolist()]
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = 0, 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as out:
        for name, data in entries:
            out.writestr(Zip64(name), data)
    zipfile.ZIP64_LIMIT, zipfile.ZIP_FILECOUNT_LIMIT = limits


def legacy_file(path, pickled, storages):
    """The old container around a pickle that today's PyTorch does not write."""
    with open(path, "wb") as f:
        pickle.dump(0x1950A86A20F9469CFC6C, f, protocol=2)
        pickle.dump(1001, f, protocol=2)
        pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, f, 2)
        f.write(pickled)
        pickle.dump(list(storages), f, protocol=2)
        for values in storages.values():
            f.write(struct.pack("<q", len(values)) + values.astype("<f4").tobytes())


def short(text):
    return b"U" + bytes([len(text)]) + text.encode()


def number(n):
    return b"J" + struct.pack("<i", n)


def sizes(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def old_pickles(folder, state):
    """As Python 2 pickled an OrderedDict, with its short strings; and tensors before PyTorch 0.4,
    which had no requires_grad and storages of torch.cuda."""
    for name, kind, call, tail in (
            ("python2", b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
             b"\x89ccollections\nOrderedDict\n]\x85R"),
            ("before_0_4", b"ctorch.cuda\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor\n",
             b"")):
        text, storages = b"\x80\x02ccollections\nOrderedDict\n](", {}
        for i, (key, v) in enumerate(state.items()):
            storages[str(94000 + i)] = v.reshape(-1).numpy()
            text += b"](" + short(key) + call + b"(" + b"("
            text += short("storage") + kind + short(str(94000 + i)) + short("cuda:0")
            text += number(v.numel()) + b"NtQ" + number(0) + sizes(v.shape) + sizes(v.stride())
            text += tail + b"tRe"
        legacy_file(f"{folder}/{name}.pth", text + b"e\x85R.", storages)


def as_safetensors(path, state):
    header, data = {}, b""
    for name, v in state.items():
        bits = v.contiguous().numpy().tobytes()
        kind = {torch.float32: "F32", torch.float16: "F16"}[v.dtype]
        header[name] = {"dtype": kind, "shape": list(v.shape),
                        "data_offsets": [len(data), len(data) + len(bits)]}
        data += bits
    text = json.dumps(header).encode()
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def odd(folder, f="4"):
    state = torch_nets.make("resnet:6,f=" + f).state_dict()
    batch = torch_nets.make(f"resnet:6,f={f},norm=batch").state_dict()
    save(state, f"{folder}/plain.pth", True)
    save(state, f"{folder}/plain.legacy.pth", False)
    old_pickles(folder, state)
    as_safetensors(f"{folder}/plain.safetensors", state)
    as_safetensors(f"{folder}/half.safetensors", {k: v.half() for k, v in state.items()})
    deflated(f"{folder}/deflated.pth", f"{folder}/plain.pth")
    as_zip64(f"{folder}/zip64.pth", f"{folder}/plain.pth")
    for new, kind in ((True, "zip"), (False, "legacy")):
        put = lambda what, name: save(what, f"{folder}/{name}.{kind}.pth", new)
        put({"module." + k: v for k, v in state.items()}, "module")
        put({k: v.half() for k, v in state.items()}, "half")
        put({k: v.bfloat16() for k, v in state.items()}, "bfloat16")
        put({k: v.half().float() for k, v in state.items()}, "half_rounded")
        put({k: v.bfloat16().float() for k, v in state.items()}, "bfloat16_rounded")
        put({k: v.double() for k, v in state.items()}, "double")
        put(OrderedDict((k, nn.Parameter(v)) for k, v in state.items()), "parameters")
        put({"epoch": 7, "lr": 2e-4, "done": False, "name": "x", "state_dict": state}, "nested")
        put({"epoch": 7, "params": state}, "other_name")
        put({"a": state, "b": batch}, "two")
        put({"epoch": 7, "state_dict": state, "optimizer": {"state": {0: {"step": 3}}}}, "training")
        strided = OrderedDict()
        for k, v in state.items():
            if v.dim() == 4:  # other strides and a gap, an offset
                big = torch.full((v.shape[1] * 2, v.shape[0], *v.shape[2:]), 9.0)
                part = big[1::2].transpose(0, 1)
                part.copy_(v)
                v = part
            strided[k] = v
        put(strided, "strided")
        one = torch.cat([v.reshape(-1) for v in state.values()])
        at, views = 0, OrderedDict()
        for k, v in state.items():
            views[k] = one[at:at + v.numel()].view(v.shape)
            at += v.numel()
        put(views, "one_storage")
        stale = OrderedDict()
        for k, v in state.items():
            stale[k] = v
            if k.endswith(".bias") and not k.endswith("25.bias") and "23" not in k:
                head, module = k[:-5].rsplit(".", 1)
                norm = f"{head}.{int(module) + 1}"
                stale[norm + ".running_mean"] = torch.zeros(v.shape[0])
                stale[norm + ".running_var"] = torch.ones(v.shape[0])
                stale[norm + ".num_batches_tracked"] = torch.tensor(5)
        put(stale, "stale")
        # refused
        put(torch_nets.make("resnet:6,f=" + f), "module_object")
        put({"epoch": 3, "net": torch_nets.make("resnet:6,f=" + f)}, "module_inside")
        put({k: v.expand(2, *v.shape)[0].expand_as(v) if v.dim() != 1 else
             v[:1].expand(v.shape) for k, v in state.items()}, "expanded")
        put({**state, "model.1.weight": state["model.1.weight"] * float("nan")}, "nan")
        put({k: v for k, v in state.items() if k != "model.7.weight"}, "missing")
        put({**state, "model.4.weight": torch.zeros(8, 4, 3, 4)}, "other_shape")
        put({**state, "extra": torch.zeros(3)}, "extra")
        put({k: v.to(torch.int32) for k, v in state.items()}, "integers")
        put(state["model.1.weight"], "one_tensor")
        put([1, 2, 3], "list")
        put({"epoch": 3}, "no_tensors")


# ---- files made to harm ----


def archive(path, pickled, data, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as z:
        z.writestr("archive/data.pkl", pickled)
        for key, values in data.items():
            z.writestr(f"archive/data/{key}", values)


def tensor(key, shape, count, strides=None, offset=0):
    """A tensor's instructions."""
    if strides is None:
        strides = [int(np.prod(shape[i + 1:])) for i in range(len(shape))]
    big = lambda n: b"\x8a\x08" + struct.pack("<q", n)
    many = lambda values: b"(" + b"".join(map(big, values)) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + short("storage") + b"ctorch\nFloatStorage\n" +
            short(key) + short("cpu") + big(count) + b"tQ" + big(offset) + many(shape) +
            many(strides) + b"\x89)tR")


def state_of(entries):
    return b"\x80\x02}(" + b"".join(short(k) + v for k, v in entries) + b"u."


def generator_state(spec, wide):
    """Every tensor of a generator on one storage of `wide` floats that is not there as often."""
    net = torch_nets.make(spec)
    return state_of((k, tensor("0", list(v.shape), wide)) for k, v in net.state_dict().items())


def with_lie(path, source, find, give, last=True):
    """A copy with the bytes behind a mark overwritten."""
    data = bytearray(open(source, "rb").read())
    mark, offset = find
    at = (data.rfind(mark) if last else data.find(mark)) + offset
    data[at:at + len(give)] = give
    open(path, "wb").write(data)


def hostile(folder):
    put = lambda name, pickled, data=None, **more: archive(
        f"{folder}/{name}.pth", pickled, {} if data is None else data, **more)
    one = state_of([("a", tensor("0", [64], 64))])
    floats = np.zeros(64, "<f4").tobytes()
    put("any", one, {"0": floats})  # none of ours, and the source of others
    put("bomb", state_of([("a", tensor("0", [25 << 20], 25 << 20))]),
        {"0": bytes(100 << 20)}, method=zipfile.ZIP_DEFLATED)
    put("bomb_in_pickle", b"\x80\x02" + b"N" * (64 << 20), method=zipfile.ZIP_DEFLATED)
    put("pickle_of_256_KiB", b"\x80\x02" + b"}" * 262000 + b".")
    put("pickle_deflated", b"\x80\x02" + b"N" * 3000 + b".", method=zipfile.ZIP_DEFLATED)
    put("deep", b"\x80\x02" + b"(" * 100000 + b"t" * 100000 + b".")
    put("deep_lists", b"\x80\x02" + b"]" * 4000 + b"a" * 3999 + b".")
    put("itself", b"\x80\x02}q\x00" + b"".join(short(str(i)) + b"h\x00s" for i in range(3000)) + b".")
    doubled = b"\x80\x02}(" + short("0") + b"}q\x00" + b"".join(
        short(str(i)) + b"}q" + bytes([i]) + short("a") + b"h" + bytes([i - 1]) + b"s" +
        short("b") + b"h" + bytes([i - 1]) + b"s" for i in range(1, 200))
    put("memo_bomb", doubled + b"u.")
    put("memo_far", b"\x80\x02}r\xff\xff\xff\x7f.")
    put("huge_storage", state_of([("a", tensor("0", [1 << 40], 1 << 40))]), {"0": floats})
    put("huge_count", state_of([("a", tensor("0", [64], (1 << 62)))]), {"0": floats})
    put("overflow", state_of([("a", tensor("0", [1 << 31, 1 << 31, 4], 64))]), {"0": floats})
    put("stride_0", state_of([("a", tensor("0", [1 << 40], 64, [0]))]), {"0": floats})
    put("beyond", state_of([("a", tensor("0", [64], 64, None, 1))]), {"0": floats})
    put("far", state_of([("a", tensor("0", [64], 64, None, (1 << 63) - 1))]), {"0": floats})
    wide = 9 * 256 * 256  # the largest tensor
    put("shared", generator_state("resnet:9,f=64", wide), {"0": bytes(4 * wide)})
    put("shared_deflated", generator_state("resnet:9,f=64", wide), {"0": bytes(4 * wide)},
        method=zipfile.ZIP_DEFLATED)
    put("many_tensors", state_of((f"t{i}", tensor("0", [1], 64)) for i in range(1500)),
        {"0": floats})
    put("many_entries", one, {str(i): b"" for i in range(60000)})
    put("entries_2000", one, {str(i): b"" for i in range(2000)})
    put("wide_net", state_of([("model.1.weight", tensor("0", [65536, 65536, 7, 7], 64))]),
        {"0": floats})
    put("os_system", b"\x80\x02cos\nsystem\n" + short("touch /tmp/harm") + b"\x85R.")
    put("reduce_storage", b"\x80\x02ctorch\nFloatStorage\n)R.")
    open(f"{folder}/any.legacy.pth", "wb").write(b"")
    legacy_file(f"{folder}/any.legacy.pth", one, {"0": np.zeros(64, "<f4")})
    with_lie(f"{folder}/legacy_count.pth", f"{folder}/any.legacy.pth", (b"a.", 2),
             struct.pack("<q", 1 << 60))
    any_zip = f"{folder}/any.pth"
    for name, lie in (("entries_lie", (10, b"\xff\x07")), ("entries_lie_most", (8, b"\xff" * 4)),
                      ("directory_size", (12, b"\xff" * 4)), ("directory_place", (16, b"\xff" * 4))):
        with_lie(f"{folder}/{name}.pth", any_zip, (b"PK\5\6", lie[0]), lie[1])
    with_lie(f"{folder}/sizes_lie.pth", any_zip, (b"PK\1\2", 20), b"\0\0\0\x7f" * 2)
    with_lie(f"{folder}/inflates_to_more.pth", f"{folder}/pickle_deflated.pth",
             (b"PK\1\2", 24), struct.pack("<I", 100))
    header = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(4000)}
    text = json.dumps(header, separators=(",", ":")).encode()
    open(f"{folder}/header.safetensors", "wb").write(struct.pack("<Q", len(text)) + text)
    nested = b'{"a":' * 50000
    open(f"{folder}/nested.safetensors", "wb").write(struct.pack("<Q", len(nested)) + nested)
    huge = b'{"a":{"dtype":"F32","shape":[4611686018427387903],"data_offsets":[0,4]}}'
    open(f"{folder}/huge.safetensors", "wb").write(struct.pack("<Q", len(huge)) + huge + bytes(4))
    open(f"{folder}/length.safetensors", "wb").write(struct.pack("<Q", (1 << 63)) + b"{}")


def main():
    command, folder, *more = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(2)
    torch.backends.quantized  # loaded before any thread of ours
    done = {"write": write, "check": check, "odd": odd, "hostile": hostile}[command](folder, *more)
    sys.exit(0 if done is None or done else 1)


main()
