"""The reference's networks as PyTorch modules, with its names of parameters: an independent judge of
ours. Written from the description of the architectures, not from the reference's code."""
import functools

import torch
from torch import nn
import torch.nn.functional as F


def norm_of(kind):
    return {
        "instance": functools.partial(nn.InstanceNorm2d, affine=False),
        "batch": nn.BatchNorm2d,
        "none": lambda c: nn.Identity(),
    }[kind]


class Down(nn.Module):
    """Blur by [1,2,1] and take every second place."""

    def __init__(self, c):
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0])
        self.register_buffer("filt", (line[:, None] * line / 16).repeat(c, 1, 1, 1))

    def forward(self, x):
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.filt, stride=2, groups=x.shape[1])


class Up(nn.Module):
    """Double by [1,3,3,1]."""

    def __init__(self, c):
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0])
        self.register_buffer("filt", (line[:, None] * line / 16).repeat(c, 1, 1, 1))

    def forward(self, x):
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv_transpose2d(x, self.filt, stride=2, padding=2, groups=x.shape[1])
        return y[:, :, 1:-1, 1:-1]


class Block(nn.Module):
    def __init__(self, c, norm, bias, dropout):
        super().__init__()
        layers = [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=bias), norm(c), nn.ReLU(True)]
        layers += [nn.Dropout(0.5)] if dropout else []
        layers += [nn.ReflectionPad2d(1), nn.Conv2d(c, c, 3, bias=bias), norm(c)]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.conv_block(x)


class Resnet(nn.Module):
    def __init__(self, in_nc=3, out_nc=3, f=64, blocks=9, norm="instance", dropout=False,
                 antialias=False, antialias_up=None, resize=False):
        super().__init__()
        if antialias_up is None:
            antialias_up = antialias
        bias, kind = norm == "instance", norm_of(norm)
        m = [nn.ReflectionPad2d(3), nn.Conv2d(in_nc, f, 7, bias=bias), kind(f), nn.ReLU(True)]
        for c in (f, 2 * f):
            m += [nn.Conv2d(c, 2 * c, 3, 1 if antialias else 2, 1, bias=bias), kind(2 * c),
                  nn.ReLU(True)] + ([Down(2 * c)] if antialias else [])
        m += [Block(4 * f, kind, bias, dropout) for _ in range(blocks)]
        for c in (4 * f, 2 * f):
            if antialias_up or resize:
                # Ours alone: trainer.upsample = "resize".
                up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
                m += [up if resize else Up(c), nn.Conv2d(c, c // 2, 3, 1, 1, bias=bias)]
            else:
                m += [nn.ConvTranspose2d(c, c // 2, 3, 2, 1, output_padding=1, bias=bias)]
            m += [kind(c // 2), nn.ReLU(True)]
        m += [nn.ReflectionPad2d(3), nn.Conv2d(f, out_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*m)

    def forward(self, x):
        return self.model(x)


class Level(nn.Module):
    def __init__(self, outer, inner, sub, place, norm, bias, in_nc, dropout):
        super().__init__()
        self.outermost = place == "outermost"
        down = nn.Conv2d(in_nc, inner, 4, 2, 1, bias=bias)
        doubled = inner * (1 if place == "innermost" else 2)
        up = nn.ConvTranspose2d(doubled, outer, 4, 2, 1, bias=True if self.outermost else bias)
        if self.outermost:
            m = [down, sub, nn.ReLU(), up, nn.Tanh()]
        elif place == "innermost":
            m = [nn.LeakyReLU(0.2), down, nn.ReLU(), up, norm(outer)]
        else:
            m = [nn.LeakyReLU(0.2), down, norm(inner), sub, nn.ReLU(), up, norm(outer)]
            m += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*m)

    def forward(self, x):
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], 1)


class Unet(nn.Module):
    def __init__(self, in_nc=3, out_nc=3, f=64, downs=8, norm="batch", dropout=False):
        super().__init__()
        bias, kind = norm == "instance", norm_of(norm)
        width = [f * min(2**i, 8) for i in range(downs)]
        sub = Level(width[-2], width[-1], None, "innermost", kind, bias, width[-2], False)
        for i in range(downs - 2, 0, -1):
            sub = Level(width[i - 1], width[i], sub, "middle", kind, bias, width[i - 1],
                        dropout and i > 3)
        self.model = Level(out_nc, width[0], sub, "outermost", kind, bias, in_nc, False)

    def forward(self, x):
        return self.model(x)


class Patch(nn.Module):
    def __init__(self, in_nc=3, f=64, n=3, norm="instance", antialias=False):
        super().__init__()
        bias, kind = norm == "instance", norm_of(norm)
        stride = 1 if antialias else 2
        m = [nn.Conv2d(in_nc, f, 4, stride, 1), nn.LeakyReLU(0.2)] + ([Down(f)] if antialias else [])
        c = f
        for i in range(1, n + 1):
            d = f * min(2**i, 8)
            m += [nn.Conv2d(c, d, 4, stride if i < n else 1, 1, bias=bias), kind(d),
                  nn.LeakyReLU(0.2)] + ([Down(d)] if antialias and i < n else [])
            c = d
        self.model = nn.Sequential(*m, nn.Conv2d(c, 1, 4, 1, 1))

    def forward(self, x):
        return self.model(x)


class Pixel(nn.Module):
    def __init__(self, in_nc=3, f=64, norm="instance"):
        super().__init__()
        bias, kind = norm == "instance", norm_of(norm)
        self.net = nn.Sequential(nn.Conv2d(in_nc, f, 1), nn.LeakyReLU(0.2),
                                 nn.Conv2d(f, 2 * f, 1, bias=bias), kind(2 * f), nn.LeakyReLU(0.2),
                                 nn.Conv2d(2 * f, 1, 1, bias=bias))

    def forward(self, x):
        return self.net(x)


def make(spec, seed=1):
    """resnet:BLOCKS, unet:DOWNS, patch:N, pixel, then key=value, all separated by commas."""
    family, *rest = spec.split(",")
    words = dict(r.split("=") for r in rest)
    options = {k: v if k == "norm" else int(v) for k, v in words.items()}
    name, _, n = family.partition(":")
    torch.manual_seed(seed)
    net = {
        "resnet": lambda: Resnet(blocks=int(n), **options),
        "unet": lambda: Unet(downs=int(n), **options),
        "patch": lambda: Patch(n=int(n), **options),
        "pixel": lambda: Pixel(**options),
    }[name]()
    with torch.no_grad():  # what training would leave: nothing at its beginning's value
        for key, t in net.state_dict().items():
            if key.endswith("num_batches_tracked"):
                t.fill_(7)
            elif key.endswith("running_var"):
                t.uniform_(0.5, 1.5)
            elif key.endswith("running_mean") or key.endswith("bias"):
                t.normal_(0, 0.1)
            elif t.dim() == 1:
                t.normal_(1, 0.2)
    return net
