"""The students and teachers of bench/train.sh in PyTorch, layer for layer those of student/net."""

import torch
from torch import nn

TORCH_1 = torch.__version__.startswith("1.")


def conv_norm(i, o, kernel=1, stride=1, padding=0, groups=1, linear=False):
    layers = [nn.Conv2d(i, o, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(o)]
    if not linear:
        layers.append(nn.PReLU(o))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x) + x


def bottleneck(i, expand, o, stride):
    return nn.Sequential(
        conv_norm(i, expand),
        conv_norm(expand, expand, 3, stride, 1, groups=expand),
        conv_norm(expand, o, linear=True),
    )


def mobilefacenet(dim=512):
    layers = [conv_norm(3, 64, 3, 2, 1), conv_norm(64, 64, 3, 1, 1, groups=64)]
    i = 64
    for expand, o, repeats, inner in ((128, 64, 4, 128), (256, 128, 6, 256), (512, 128, 2, 256)):
        layers.append(bottleneck(i, expand, o, 2))
        layers += [Residual(bottleneck(o, inner, o, 1)) for _ in range(repeats)]
        i = o
    layers += [conv_norm(i, 512), conv_norm(512, 512, 7, groups=512, linear=True), conv_norm(512, dim, linear=True), nn.Flatten()]
    return nn.Sequential(*layers)


class IBasicBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(i),
            nn.Conv2d(i, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o), nn.PReLU(o),
            nn.Conv2d(o, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or i != o:
            self.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


def iresnet(blocks, dim=512):
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64)]
    i = 64
    for o, n in zip((64, 128, 256, 512), blocks):
        layers += [IBasicBlock(i if k == 0 else o, o, 2 if k == 0 else 1) for k in range(n)]
        i = o
    layers += [nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * 7 * 7, dim), nn.BatchNorm1d(dim)]
    return nn.Sequential(*layers)


def mbconv(i, o, stride):
    wide, reduced, eps = 4 * i, max(1, i // 4), 1e-2

    def conv(i, o, *shape, groups=1):
        return nn.Sequential(nn.Conv2d(i, o, *shape, groups=groups, bias=False), nn.BatchNorm2d(o, eps))

    body = nn.Sequential(
        conv(i, wide, 1), nn.SiLU(True),
        conv(wide, wide, 3, stride, 1, groups=wide), nn.SiLU(True),
        SqueezeExcite(wide, reduced),
        conv(wide, o, 1),
    )
    return Residual(body) if i == o and stride == 1 else body


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduced):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, reduced, 1), nn.SiLU(True), nn.Conv2d(reduced, channels, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.weigh(x)


class LayerNorm(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.float() if TORCH_1 else x)  # which takes one type only


class Attention(nn.Module):
    """Softmax attention of a class token and side x side others, with a bias by relative position."""

    heads = 8

    def __init__(self, channels, side):
        super().__init__()
        self.qkv, self.project = nn.Linear(channels, 3 * channels, bias=False), nn.Linear(channels, channels)
        self.table = nn.Parameter(0.02 * torch.randn((2 * side - 1) ** 2 + 1, self.heads))
        rows, columns = (torch.arange(side * side) // side, torch.arange(side * side) % side)
        apart = (rows[:, None] - rows + side - 1) * (2 * side - 1) + columns[:, None] - columns + side - 1
        self.register_buffer("index", nn.functional.pad(apart, (1, 0, 1, 0)))  # the class token's is 0

    def forward(self, x):
        n, tokens, channels = x.shape
        q, k, v = self.qkv(x).view(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index].permute(2, 0, 1).to(q.dtype)
        y = attend(q, k, v, bias)
        return self.project(y.transpose(1, 2).reshape(n, tokens, channels))


def attend(q, k, v, bias):
    if TORCH_1:
        return torch.softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1) + bias, -1) @ v
    return nn.functional.scaled_dot_product_attention(q, k, v, bias)


class TransformerStage(nn.Module):
    def __init__(self, i, o, blocks, side):
        super().__init__()
        self.side = side
        self.patches, self.norm = nn.Conv2d(i, o, 3, 2, 1), LayerNorm(o)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, o))
        self.blocks = nn.Sequential(*[
            nn.Sequential(
                Residual(nn.Sequential(LayerNorm(o), Attention(o, side))),
                Residual(nn.Sequential(LayerNorm(o), nn.Linear(o, 4 * o), nn.GELU(), nn.Linear(4 * o, o))),
            )
            for _ in range(blocks)
        ])

    def forward(self, x):
        """The class token, and a map of the others."""
        x = self.norm(self.patches(x).flatten(2).transpose(1, 2))
        x = self.blocks(torch.cat([self.token.expand(len(x), -1, -1).to(x.dtype), x], 1))
        return x[:, 0], x[:, 1:].transpose(1, 2).unflatten(2, (self.side, self.side))


class MetaFormer(nn.Module):
    def __init__(self, channels, blocks, parameters, dim=512):
        super().__init__()
        c = channels
        half = c[0] * 3 // 4
        stem = []
        for i, o, stride in ((3, half, 2), (half, c[0], 1), (c[0], c[0], 1)):
            stem += [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(True)]
        layers = [*stem, nn.MaxPool2d(3, 2, 1)]
        for i, o, n, stride in ((c[0], c[1], blocks[0], 1), (c[1], c[2], blocks[1], 2)):
            layers += [mbconv(i if k == 0 else o, o, stride if k == 0 else 1) for k in range(n)]
        self.convolutions = nn.Sequential(*layers)
        self.third, self.fourth = TransformerStage(c[2], c[3], blocks[2], 7), TransformerStage(c[3], c[4], blocks[3], 4)
        self.resize = nn.Sequential(
            LayerNorm(c[3]), nn.Linear(c[3], c[3]), nn.GELU(), nn.Linear(c[3], c[4]), LayerNorm(c[4])
        )
        self.norm, self.weigh = LayerNorm(c[4]), nn.Linear(2, 1)
        self.embed = nn.Sequential(LayerNorm(c[4]), nn.Linear(c[4], dim))
        assert sum(p.numel() for p in self.parameters()) == parameters

    def forward(self, x):
        first, x = self.third(self.convolutions(x))
        second, _ = self.fourth(x)
        both = torch.stack([self.resize(first), self.norm(second)], -1)
        return self.embed(self.weigh(both).squeeze(-1))


NETWORKS = {
    "mobilefacenet": mobilefacenet,
    "ir18": lambda: iresnet((2, 2, 2, 2)),
    "ir50": lambda: iresnet((3, 4, 14, 3)),
    "metaformer-0": lambda: MetaFormer((64, 96, 192, 384, 768), (2, 3, 5, 2), 28321603),
}


def convolutions(network):
    """The network without norms and activations."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, (nn.BatchNorm2d, nn.BatchNorm1d, nn.PReLU)):
                setattr(module, name, nn.Identity())
    return network


def teacher(name, device):
    """A function from a batch of normalised crops to embeddings: a network of random weights, or an ONNX file."""
    if name in NETWORKS:
        network = NETWORKS[name]().to(device).eval()
        network = network.to(memory_format=torch.channels_last)
        return lambda x: network(x)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
    inside = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {inside: x.contiguous().numpy()})[0])
