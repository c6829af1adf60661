"""Trains a student against cached embeddings, or against a teacher in the loop, with PyTorch.

What a user would run instead of `pipe distill`: a DataLoader whose workers decode JPEG files
with OpenCV and mirror them, autocast, SGD with momentum. Prints a line of JSON as the Go
programs do. Steps before the first whose time counts warm everything up.
"""

import argparse
import contextlib
import glob
import json
import os
import random
import threading
import time

import numpy as np
import torch
from torch import nn

from networks import NETWORKS, convolutions, teacher


class Crops(torch.utils.data.Dataset):
    def __init__(self, folder, count):
        self.paths = sorted(glob.glob(os.path.join(folder, "crops", "*", "*.jpg")))[:count]
        self.targets = np.load(os.path.join(folder, "targets.npy"), mmap_mode="r")

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, row):
        import cv2

        image = cv2.cvtColor(cv2.imread(self.paths[row]), cv2.COLOR_BGR2RGB)
        flip = random.random() < 0.5
        if flip:
            image = np.ascontiguousarray(image[:, ::-1])
        return image, self.targets[row, int(flip)].astype(np.float32)


def resident(folder, count, batch, device):
    """Batches out of the device's own memory: nothing is read or decoded."""
    pixels = torch.from_numpy(np.load(os.path.join(folder, "pixels.npy"))[:count]).to(device)
    targets = torch.from_numpy(np.load(os.path.join(folder, "targets.npy"))[:count]).to(device)
    order = torch.randperm(len(pixels), device=device)
    for at in range(0, len(order) - batch + 1, batch):
        rows = order[at : at + batch]
        flip = torch.rand(batch, device=device) < 0.5
        images = pixels[rows]
        yield torch.where(flip[:, None, None, None], images.flip(2), images), targets[rows, flip.long()]


class Memory(threading.Thread):
    """The most that the process allocated, in MiB."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0.0
        self.start()

    def run(self):
        while True:
            with open("/proc/self/status") as f:
                for line in f:
                    if line.startswith("RssAnon"):
                        self.peak = max(self.peak, int(line.split()[1]) / 1024)
            time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--student", default="mobilefacenet", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--crops", type=int, default=1472)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--convolutions", action="store_true", help="without norms and activations")
    parser.add_argument("--resident", action="store_true", help="crops decoded in the device's memory before")
    parser.add_argument("--teacher", help="run in every step: a network's name or an ONNX file")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    memory = Memory()
    layout = torch.channels_last if o.channels_last else torch.contiguous_format
    network = NETWORKS[o.student]()
    if o.convolutions:
        network = convolutions(network)
    network = network.to(o.device, memory_format=layout)
    run = torch.compile(network) if o.compile else network
    ask = teacher(o.teacher, o.device) if o.teacher else None
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)
    bf16 = o.precision == "bf16"
    if o.resident:
        loader = resident(o.dir, o.crops, o.batch, o.device)
    else:
        loader = torch.utils.data.DataLoader(Crops(o.dir, o.crops), o.batch, shuffle=True, drop_last=True, num_workers=o.workers)
    begun, done, value = None, 0, 0.0
    for step, (images, targets) in enumerate(loader):
        if step == o.warm:
            begun = time.perf_counter()
        x = images.to(o.device, non_blocking=True).permute(0, 3, 1, 2).to(torch.float32, memory_format=layout).sub_(127.5).div_(127.5)
        with torch.autocast(o.device, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext():
            if ask is not None:
                with torch.no_grad():
                    targets = ask(x)
            y = run(x)
        loss = (1 - nn.functional.cosine_similarity(y.float(), targets.to(o.device, non_blocking=True).float())).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        value = loss.item()
        done += step >= o.warm
    seconds = time.perf_counter() - begun
    name = " ".join(
        [o.precision, "channels-last" if o.channels_last else "channels-first"]
        + (["compiled"] if o.compile else [])
        + (["convolutions only"] if o.convolutions else [])
        + (["with teacher " + os.path.basename(o.teacher)] if o.teacher else [])
    )
    print(json.dumps({
        "system": "torch %s %s" % (torch.__version__.split("a")[0].split("+")[0], name), "version": torch.__version__, "phase": "%s, batch %d" % (o.student, o.batch), "rows": o.batch,
        "operations": done * o.batch, "threads": o.threads, "seconds": seconds, "peak_mib": memory.peak, "also": {"loss": value},
    }))


if __name__ == "__main__":
    main()
