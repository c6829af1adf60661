"""Photographs into aligned crops with OpenCV: decode, similarity, warpAffine.

Prints a line of JSON as the Go programs do. A pool of processes takes photographs in
chunks; crops stay where they were made, so that nothing is spent on sending them.
"""

import argparse
import json
import multiprocessing
import os
import time

import cv2
import numpy as np

# Where the five landmarks lie in a crop of 112x112.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(points):
    """The 2x3 matrix that takes points closest to the template (least squares)."""
    a, b = points.mean(0), TEMPLATE.mean(0)
    p, q = points - a, TEMPLATE - b
    size = (p * p).sum()
    c = (p * q).sum() / size
    s = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / size
    m = np.array([[c, -s], [s, c]])
    return np.hstack([m, (b - m @ a)[:, None]])


def crop(job):
    path, points, png = job
    image = cv2.imread(path)
    face = cv2.warpAffine(image, similarity(points), (112, 112), flags=cv2.INTER_LINEAR)
    if png:
        cv2.imencode(".png", face)
    return face.shape[0] == 112


def start():
    cv2.setNumThreads(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["warp", "warp-png"])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    o = parser.parse_args()
    root = os.path.join(o.dir, "photos")
    jobs = []
    with open(os.path.join(root, "landmarks.txt")) as lines:
        for line in lines:
            key, *numbers = line.split()
            jobs.append((os.path.join(root, "images", key), np.array(numbers[:10], float).reshape(5, 2), o.phase == "warp-png"))
    with multiprocessing.get_context("fork").Pool(o.threads, start) as pool:
        pool.map(crop, jobs[:64])  # every process has begun
        begun = time.perf_counter()
        done = sum(pool.imap_unordered(crop, jobs, 32))
        seconds = time.perf_counter() - begun
    assert done == len(jobs), done
    print(json.dumps({
        "system": "opencv", "version": "OpenCV " + cv2.__version__, "phase": o.phase,
        "rows": len(jobs), "operations": done, "threads": o.threads, "seconds": seconds,
    }))


if __name__ == "__main__":
    main()
