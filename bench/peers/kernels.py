"""How much memory the engine's kernels for CUDA devices move in a second, beside PyTorch's operators.

The engine registers its operators with PyTorch's dispatcher, so both are called here. A line for
each: kernel; shape; GB/s of the engine's; of PyTorch's, channels last; of PyTorch's, channels first.
Bytes are those that must be read and written once: what is read twice counts once, for all alike.
"""

import argparse

import torch
import torch.nn.functional as F


def milliseconds(run):
    """The median of some runs, after some that do not count."""
    for _ in range(5):
        run()
    times = []
    for _ in range(15):
        begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begun.record()
        run()
        ended.record()
        torch.cuda.synchronize()
        times.append(begun.elapsed_time(ended))
    return sorted(times)[len(times) // 2]


def both(forward, leaves):
    """Forward, and backward to the leaves, as training runs them."""
    y = forward()
    dy = torch.randn_like(y)

    def run():
        torch.autograd.grad(forward(), leaves, dy)

    return run, y.numel() * y.element_size()


def report(kernel, shape, traffic, ways):
    rates = ["%.0f" % (traffic / way / 1e6) for way in ways]  # bytes a millisecond / 1e6 are GB/s
    print("; ".join([kernel, shape] + rates), flush=True)


def norm(n, c, side, dtype):
    ways = []
    for layout in (torch.channels_last, torch.channels_last, torch.contiguous_format):
        x = torch.randn(n, c, side, side, device="cuda", dtype=dtype).to(memory_format=layout).requires_grad_()
        weight, bias, mean, variance = (torch.ones(c, device="cuda") for _ in range(4))
        slope = torch.full((c,), 0.25, device="cuda")
        leaves = [x] + [p.requires_grad_() for p in (weight, bias, slope)]
        if not ways:
            forward = lambda: torch.ops.pipe.norm_act(x, weight, bias, slope, None, mean, variance, False, 0.1, 1e-5)
        else:
            forward = lambda: F.prelu(F.batch_norm(x, mean, variance, weight, bias, True, 0.1, 1e-5), slope.to(dtype))
        run, _ = both(forward, leaves)
        ways.append(milliseconds(run))
    size = x.numel() * x.element_size()
    # x twice and y; x and dy twice and dx.
    report("norm and PReLU, forward and backward", "%dx%dx%dx%d %s" % (n, c, side, side, str(dtype)[6:]), 8 * size, ways)


def depthwise(n, c, side, kernel, stride, padding, dtype):
    ways = []
    for layout in (torch.channels_last, torch.channels_last, torch.contiguous_format):
        x = torch.randn(n, c, side, side, device="cuda", dtype=dtype).to(memory_format=layout).requires_grad_()
        weight = torch.randn(c, 1, kernel, kernel, device="cuda").requires_grad_()
        if not ways:
            forward = lambda: torch.ops.pipe.conv2d(x, weight, stride, padding, c)
        else:
            forward = lambda: F.conv2d(x, weight.to(dtype), None, stride, padding, 1, c)
        run, out = both(forward, [x, weight])
        ways.append(milliseconds(run))
    size = x.numel() * x.element_size()
    # x and y; dy and dx; x and dy.
    report("depthwise %dx%d/%d, forward and backward" % (kernel, kernel, stride), "%dx%dx%dx%d %s" % (n, c, side, side, str(dtype)[6:]), 3 * (size + out), ways)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", required=True, help="libpipe_engine.so")
    parser.add_argument("--batch", type=int, default=512)
    o = parser.parse_args()
    torch.ops.load_library(o.engine)
    torch.backends.cudnn.benchmark = True
    for dtype in (torch.bfloat16, torch.float32):
        norm(o.batch, 64, 56, dtype)
        norm(o.batch, 128, 28, dtype)
        norm(o.batch, 512, 7, dtype)
        depthwise(o.batch, 64, 56, 3, 1, 1, dtype)
        depthwise(o.batch, 128, 56, 3, 2, 1, dtype)
        depthwise(o.batch, 256, 14, 3, 1, 1, dtype)
        depthwise(o.batch, 512, 7, 7, 1, 0, dtype)


if __name__ == "__main__":
    main()
