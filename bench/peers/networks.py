"""The students and teachers of bench/train.sh in PyTorch, layer for layer those of student/net."""

import torch
from torch import nn


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


NETWORKS = {
    "mobilefacenet": mobilefacenet,
    "ir18": lambda: iresnet((2, 2, 2, 2)),
    "ir50": lambda: iresnet((3, 4, 14, 3)),
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
