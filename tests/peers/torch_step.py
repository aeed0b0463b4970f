#!/usr/bin/env python3
"""Time one CycleGAN training step in plain PyTorch: the peer to beat.

Own implementation of the published step (not code from the reference repository):
  two ResNet generators, two 70x70 PatchGAN discriminators, instance norm without affine or
  running statistics, least-squares GAN loss, L1 cycle loss (lambda 10), L1 identity loss
  (lambda 10 * 0.5), Adam(2e-4, beta1 0.5), image pool of 50, N(0, 0.02) initial weights.
Per step: 6 generator forwards (2 fakes, 2 reconstructions, 2 identities), one generator backward
and Adam step with the discriminators' weights frozen, then the two discriminators on real and
pooled fake images, backward, Adam step.

Runs on torch 1.13 (CPU) up to current CUDA builds. Prints one JSON line.

  python3 peer_torch_step.py --size 128 --ngf 64 --ndf 64 --blocks 9 --batch 1 --threads 2
  python3 peer_torch_step.py --device cuda --dtype bf16 --channels-last --norm manual \
      --compile max-autotune-no-cudagraphs --cuda-graph --adam fused --merge --size 128 --blocks 9

Options that make the peer as fast as it honestly gets (all compute the same step):
  --dtype bf16|fp16    autocast, fp32 master weights and Adam; fp16 with loss scaling
  --dtype tf32|fp32    cuDNN convolutions with TF32 allowed | forbidden
  --channels-last      NHWC activations and weights; use with --norm manual (F.instance_norm
                       goes back to NCHW inside)
  --compile MODE       torch.compile of the two loss functions (default, reduce-overhead,
                       max-autotune, max-autotune-no-cudagraphs)
  --cuda-graph         the whole step (both backwards, Adam, pool) captured once and replayed;
                       combine with --compile default|max-autotune-no-cudagraphs, not with
                       the modes that make graphs of their own
  --merge              run forwards that share weights as one batch (exact: instance norm is
                       per image): G(x) and identity G(y); D(real) and D(fake)

Training in place of timing:
  --batches FILE       what `bench_loader --dump` wrote: the same pictures in the same order as a
                       run of this project; --steps of them. Prints, besides, the mean of every
                       loss over the last --tail steps.
"""
import argparse
import contextlib
import itertools
import json
import random
import resource
import statistics
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


# ---------------------------------------------------------------- networks

class ManualInstanceNorm(nn.Module):
    """Instance norm by two reductions: keeps channels_last, fuses under torch.compile."""

    def __init__(self, channels, eps=1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, x):
        xf = full(x)
        var, mean = torch.var_mean(xf, dim=(2, 3), unbiased=False, keepdim=True)
        return ((xf - mean) * torch.rsqrt(var + self.eps)).to(x.dtype)


def make_norm(kind, channels):
    return ManualInstanceNorm(channels) if kind == "manual" else nn.InstanceNorm2d(channels)


class Residual(nn.Module):
    def __init__(self, ch, norm):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(ch, ch, 3), make_norm(norm, ch), nn.ReLU(True),
            nn.ReflectionPad2d(1), nn.Conv2d(ch, ch, 3), make_norm(norm, ch))

    def forward(self, x):
        return x + self.body(x)


def generator(ngf, blocks, norm):
    c1, c2, c4 = ngf, 2 * ngf, 4 * ngf
    seq = [nn.ReflectionPad2d(3), nn.Conv2d(3, c1, 7), make_norm(norm, c1), nn.ReLU(True)]
    for a, b in ((c1, c2), (c2, c4)):
        seq += [nn.Conv2d(a, b, 3, stride=2, padding=1), make_norm(norm, b), nn.ReLU(True)]
    seq += [Residual(c4, norm) for _ in range(blocks)]
    for a, b in ((c4, c2), (c2, c1)):
        seq += [nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1),
                make_norm(norm, b), nn.ReLU(True)]
    seq += [nn.ReflectionPad2d(3), nn.Conv2d(c1, 3, 7), nn.Tanh()]
    return nn.Sequential(*seq)


def discriminator(ndf, norm):
    seq = [nn.Conv2d(3, ndf, 4, stride=2, padding=1), nn.LeakyReLU(0.2, True)]
    for a, b, s in ((1, 2, 2), (2, 4, 2), (4, 8, 1)):
        seq += [nn.Conv2d(a * ndf, b * ndf, 4, stride=s, padding=1), make_norm(norm, b * ndf),
                nn.LeakyReLU(0.2, True)]
    seq += [nn.Conv2d(8 * ndf, 1, 4, padding=1)]
    return nn.Sequential(*seq)


def gaussian_init(net):
    for m in net.modules():
        if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(m.weight, 0.0, 0.02)
            nn.init.zeros_(m.bias)


# ---------------------------------------------------------------- image pool

class Pool:
    """The 50-image history buffer, on the device.

    Rows [0, size) are the history, rows [size, size+batch) stage this step's fakes. The host
    draws the choices with Python's `random`, image by image, and hands the device two index
    vectors, so that the device part is fixed work and can sit inside a CUDA graph.
    """

    def __init__(self, size, batch, shape, device, memory_format):
        self.size, self.batch, self.filled = size, batch, 0
        self.rows = torch.zeros((size + batch,) + shape, device=device)
        self.rows = self.rows.contiguous(memory_format=memory_format)
        self.pin = device.type == "cuda"
        self.index = torch.zeros(2, batch, dtype=torch.long, device=device)

    def draw(self):
        writer = {}                      # slot -> last image of this batch stored there
        rows = [[0] * self.batch, [0] * self.batch]
        for i in range(self.batch):
            src, slot = self.size + i, None
            if self.filled < self.size:
                slot, self.filled = self.filled, self.filled + 1
            elif random.uniform(0, 1) > 0.5:
                slot = random.randint(0, self.size - 1)
                src = self.size + writer[slot] if slot in writer else slot
            if slot is not None:
                writer[slot] = i
            rows[0][i], rows[1][i] = src, self.size + i
        for slot, i in writer.items():
            rows[1][i] = slot
        host = torch.tensor(rows)        # a fresh buffer each time: the copy may still be in flight
        self.index.copy_(host.pin_memory() if self.pin else host, non_blocking=True)

    def exchange(self, fake):
        if self.size == 0:
            return fake
        self.rows[self.size:].copy_(fake)
        out = self.rows.index_select(0, self.index[0])
        self.rows.index_copy_(0, self.index[1], self.rows[self.size:].clone())
        return out


# ---------------------------------------------------------------- the step

def full(x):
    """Losses are taken in fp32 when the networks run in a narrower type."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def mse_to(pred, target):
    return ((full(pred) - target) ** 2).mean()


class Trainer:
    def __init__(self, a, device):
        self.a, self.device = a, device
        self.fmt = torch.channels_last if a.channels_last else torch.contiguous_format
        self.ga, self.gb = (generator(a.ngf, a.blocks, a.norm) for _ in range(2))
        self.da, self.db = (discriminator(a.ndf, a.norm) for _ in range(2))
        for net in self.nets():
            gaussian_init(net)
            net.to(device=device, memory_format=self.fmt)
        shape = (3, a.size, a.size)
        self.pool_a = Pool(a.pool, a.batch, shape, device, self.fmt)
        self.pool_b = Pool(a.pool, a.batch, shape, device, self.fmt)
        self.real_a = torch.zeros((a.batch,) + shape, device=device).contiguous(memory_format=self.fmt)
        self.real_b = self.real_a.clone()
        self.g_params = [p for n in (self.ga, self.gb) for p in n.parameters()]
        self.d_params = [p for n in (self.da, self.db) for p in n.parameters()]
        self.opt_g, self.opt_d = self.adam(self.g_params), self.adam(self.d_params)
        self.scale, self.scaler = 1.0, None
        if a.dtype == "fp16":
            if a.cuda_graph:             # GradScaler decides on the host; a graph cannot
                self.scale = 1024.0
            else:
                self.scaler = torch.cuda.amp.GradScaler() if not hasattr(torch.amp, "GradScaler") \
                    else torch.amp.GradScaler("cuda")
        self.g_loss, self.d_loss = self.g_loss_fn, self.d_loss_fn
        if a.compile:
            self.g_loss = torch.compile(self.g_loss_fn, mode=a.compile, dynamic=False)
            self.d_loss = torch.compile(self.d_loss_fn, mode=a.compile, dynamic=False)
        self.losses = None
        self.named = {}

    def nets(self):
        return self.ga, self.gb, self.da, self.db

    def adam(self, params):
        kw = {}
        if self.a.adam != "default":
            kw[self.a.adam] = True
        if self.a.cuda_graph:
            kw["capturable"] = True
        return torch.optim.Adam(params, lr=2e-4, betas=(0.5, 0.999), **kw)

    def autocast(self):
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.a.dtype)
        if kind is None:
            return contextlib.nullcontext()
        return torch.autocast(device_type=self.device.type, dtype=kind)

    def g_loss_fn(self, xa, xb):
        ga, gb, lam, idt = self.ga, self.gb, self.a.lambda_cycle, self.a.lambda_idt
        if self.a.merge and idt > 0:
            fake_b, same_b = ga(torch.cat((xa, xb))).chunk(2)
            fake_a, same_a = gb(torch.cat((xb, xa))).chunk(2)
        else:
            fake_b, fake_a = ga(xa), gb(xb)
            same_b = ga(xb) if idt > 0 else None
            same_a = gb(xa) if idt > 0 else None
        rec_a, rec_b = gb(fake_b), ga(fake_a)
        adv_a, adv_b = mse_to(self.da(fake_b), 1.0), mse_to(self.db(fake_a), 1.0)
        cyc_a = F.l1_loss(full(rec_a), xa) * lam
        cyc_b = F.l1_loss(full(rec_b), xb) * lam
        total = adv_a + adv_b + cyc_a + cyc_b
        if self.a.batches:
            self.named = dict(G_A=adv_a.detach(), G_B=adv_b.detach(), cycle_A=cyc_a.detach(),
                              cycle_B=cyc_b.detach())
        if idt > 0:
            idt_a = F.l1_loss(full(same_b), xb) * (lam * idt)
            idt_b = F.l1_loss(full(same_a), xa) * (lam * idt)
            total = total + idt_a + idt_b
            if self.a.batches:
                self.named.update(idt_A=idt_a.detach(), idt_B=idt_b.detach())
        return total, full(fake_a.detach()), full(fake_b.detach())

    def d_loss_fn(self, xa, xb, old_a, old_b):
        def one(net, real, fake):
            if self.a.merge:
                p_real, p_fake = net(torch.cat((real, fake))).chunk(2)
            else:
                p_real, p_fake = net(real), net(fake)
            return 0.5 * (mse_to(p_real, 1.0) + mse_to(p_fake, 0.0))
        return one(self.da, xb, old_b), one(self.db, xa, old_a)

    def backward_and_update(self, loss, opt, params):
        if self.scaler is not None:
            self.scaler.scale(loss).backward()
            self.scaler.step(opt)
        elif self.scale != 1.0:
            (loss * self.scale).backward()
            torch._foreach_mul_([p.grad for p in params], 1.0 / self.scale)
            opt.step()
        else:
            loss.backward()
            opt.step()

    def device_step(self):
        """Everything that runs on the device. Reads real_a, real_b and the pools' indices."""
        for p in self.d_params:
            p.requires_grad_(False)
        self.opt_g.zero_grad(set_to_none=True)
        with self.autocast():
            loss_g, fake_a, fake_b = self.g_loss(self.real_a, self.real_b)
        self.backward_and_update(loss_g, self.opt_g, self.g_params)
        for p in self.d_params:
            p.requires_grad_(True)
        self.opt_d.zero_grad(set_to_none=True)
        old_b, old_a = self.pool_b.exchange(fake_b), self.pool_a.exchange(fake_a)
        with self.autocast():
            loss_da, loss_db = self.d_loss(self.real_a, self.real_b, old_a, old_b)
        self.backward_and_update(loss_da + loss_db, self.opt_d, self.d_params)
        if self.scaler is not None:
            self.scaler.update()
        self.losses = (loss_g.detach(), loss_da.detach(), loss_db.detach())
        self.named.update(D_A=self.losses[1], D_B=self.losses[2])

    def host_part(self, xa, xb):
        self.real_a.copy_(xa, non_blocking=True)
        self.real_b.copy_(xb, non_blocking=True)
        if self.a.pool > 0:
            self.pool_b.draw()           # the reference asks the B pool first
            self.pool_a.draw()


# ---------------------------------------------------------------- measuring

def smooth_images(n, batch, size, device, fmt, seed):
    """Random images with low-frequency content, in [-1, 1]."""
    gen = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        low = torch.randn(batch, 3, 8, 8, generator=gen)
        img = F.interpolate(low, size=(size, size), mode="bicubic", align_corners=False)
        img = torch.tanh(img + 0.1 * torch.randn(batch, 3, size, size, generator=gen))
        out.append(img.to(device).contiguous(memory_format=fmt))
    return out


def dumped_images(path, batch, size):
    """Pairs (A, B) of [batch,3,size,size] in [-1,1] from bench_loader's dump."""
    one = batch * size * size * 3
    with open(path, "rb") as f:
        while len(raw := f.read(2 * one)) == 2 * one:
            v = torch.frombuffer(bytearray(raw), dtype=torch.uint8).float()
            v = ((v / 255 - 0.5) / 0.5).view(2, batch, size, size, 3).permute(0, 1, 4, 2, 3)
            yield v[0].contiguous(), v[1].contiguous()


def train(t, a):
    """Runs over the dump; returns the mean of each loss over the last steps."""
    logs = []
    for xa, xb in itertools.islice(dumped_images(a.batches, a.batch, a.size), a.steps):
        t.host_part(xa, xb)
        t.device_step()
        logs.append({k: float(v) for k, v in t.named.items()})
    if len(logs) < a.steps:
        sys.exit(f"{a.batches} has only {len(logs)} batches")
    tail = logs[-a.tail:]
    return {k: sum(row[k] for row in tail) / len(tail) for k in sorted(tail[0])}


def set_tf32(on):
    """The old switches on purpose: with the new ones, torch.compile on 2.9 and later can stop with
    a "mix of the legacy and new APIs" error (pytorch issue 166387). cuDNN's default is TF32 on."""
    try:
        torch.backends.cudnn.allow_tf32 = on
        torch.backends.cuda.matmul.allow_tf32 = on
    except Exception:                    # a future release without the old switches
        torch.backends.cudnn.conv.fp32_precision = "tf32" if on else "ieee"
        torch.backends.cuda.matmul.fp32_precision = "tf32" if on else "ieee"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--ngf", type=int, default=64)
    p.add_argument("--ndf", type=int, default=64)
    p.add_argument("--blocks", type=int, default=9)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--pool", type=int, default=50)
    p.add_argument("--lambda-cycle", type=float, default=10.0)
    p.add_argument("--lambda-idt", type=float, default=0.5)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--warmup", type=int, default=None, help="default 1 on CPU, 10 on CUDA")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--dtype", choices=("fp32", "tf32", "bf16", "fp16"), default="fp32")
    p.add_argument("--channels-last", action="store_true")
    p.add_argument("--norm", choices=("native", "manual"), default="native")
    p.add_argument("--compile", nargs="?", const="default", default=None, metavar="MODE")
    p.add_argument("--cuda-graph", action="store_true")
    p.add_argument("--adam", choices=("default", "foreach", "fused"), default="default")
    p.add_argument("--merge", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--label", default="")
    p.add_argument("--batches", metavar="FILE")
    p.add_argument("--tail", type=int, default=100)
    a = p.parse_args()

    device = torch.device(a.device)
    cuda = a.device == "cuda"
    if a.cuda_graph and not cuda:
        sys.exit("--cuda-graph needs --device cuda")
    if a.cuda_graph and a.compile in ("reduce-overhead", "max-autotune"):
        sys.exit("--cuda-graph: use --compile default or max-autotune-no-cudagraphs with it")
    if a.dtype == "fp16" and not cuda:
        sys.exit("--dtype fp16 is for cuda")
    if a.compile and not hasattr(torch, "compile"):
        sys.exit("--compile needs torch 2")
    if a.warmup is None:
        a.warmup = 10 if cuda else 1
    if a.threads:
        torch.set_num_threads(a.threads)
    if cuda:
        torch.backends.cudnn.benchmark = True
        set_tf32(a.dtype == "tf32")
    random.seed(a.seed)
    torch.manual_seed(a.seed)

    t = Trainer(a, device)
    if a.batches:
        print(json.dumps({"peer": "torch", "seed": a.seed, "steps": a.steps, "tail": a.tail,
                          "losses": train(t, a), "torch": torch.__version__}))
        return
    n_data = 4
    data_a = smooth_images(n_data, a.batch, a.size, device, t.fmt, a.seed + 1)
    data_b = smooth_images(n_data, a.batch, a.size, device, t.fmt, a.seed + 2)
    feed = itertools.cycle(list(zip(data_a, data_b)))
    own_graphs = a.compile in ("reduce-overhead", "max-autotune")

    def one_step(body):
        if own_graphs and hasattr(torch, "compiler"):
            torch.compiler.cudagraph_mark_step_begin()
        t.host_part(*next(feed))
        body()

    t_setup = time.perf_counter()
    body, peak_graph = t.device_step, 0
    if a.cuda_graph:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(max(3, a.warmup)):
                one_step(t.device_step)
        torch.cuda.current_stream().wait_stream(side)
        torch.cuda.synchronize()
        t.opt_g.zero_grad(set_to_none=True)
        t.opt_d.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            t.device_step()
        # A replay allocates nothing: its tensors lie where the capture put them.
        peak_graph = torch.cuda.max_memory_allocated()
        body = graph.replay
    for _ in range(a.warmup):
        one_step(body)
    peak_setup = 0
    if cuda:
        torch.cuda.synchronize()
        peak_setup = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    t_setup = time.perf_counter() - t_setup

    times = []
    if cuda:
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(a.steps + 1)]
        wall = time.perf_counter()
        marks[0].record()
        for i in range(a.steps):
            one_step(body)
            marks[i + 1].record()
        torch.cuda.synchronize()
        wall = time.perf_counter() - wall
        times = [marks[i].elapsed_time(marks[i + 1]) / 1e3 for i in range(a.steps)]
    else:
        wall = time.perf_counter()
        for _ in range(a.steps):
            t0 = time.perf_counter()
            one_step(body)
            float(t.losses[0])
            times.append(time.perf_counter() - t0)
        wall = time.perf_counter() - wall

    med, ordered = statistics.median(times), sorted(times)
    out = {
        "label": a.label, "size": a.size, "ngf": a.ngf, "ndf": a.ndf, "blocks": a.blocks,
        "batch": a.batch, "device": a.device, "dtype": a.dtype,
        "channels_last": a.channels_last, "norm": a.norm, "compile": a.compile,
        "cuda_graph": a.cuda_graph, "adam": a.adam, "merge": a.merge,
        "steps": a.steps, "warmup": a.warmup, "threads": torch.get_num_threads(),
        "median_s_per_step": round(med, 6), "min_s": round(min(times), 6),
        "max_s": round(max(times), 6), "low_s": round(ordered[len(times) // 10], 6),
        "high_s": round(ordered[-1 - len(times) // 10], 6), "mean_wall_s": round(wall / a.steps, 6),
        "img_per_s": round(a.batch / med, 4),          # one A and one B image count as one
        "setup_s": round(t_setup, 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "params_g": sum(q.numel() for q in t.ga.parameters()),
        "params_d": sum(q.numel() for q in t.da.parameters()),
        "losses": [round(float(v), 5) for v in t.losses],
        "torch": torch.__version__,
    }
    if cuda:
        out["peak_gpu_mb"] = round(max(torch.cuda.max_memory_allocated(), peak_graph) / 2 ** 20)
        out["peak_gpu_mb_setup"] = round(peak_setup / 2 ** 20)    # with cuDNN's trial workspaces
        out["reserved_gpu_mb"] = round(torch.cuda.memory_reserved() / 2 ** 20)
        out["gpu"] = torch.cuda.get_device_name()
        out["cudnn"] = torch.backends.cudnn.version()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
