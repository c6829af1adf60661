"""The IJB protocols with numpy, as a script would do them: 1:1 and 1:N.

Reads the metadata and embeddings.npy in a folder, as bench/evalspeed makes them, and prints a line
of JSON as the Go programs do. Switches: no flip, norms kept, detector scores on, the nearest point
of the ROC. Memory is the most that was resident.
"""

import argparse
import json
import os
import resource
import time

import numpy as np

TARGETS = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]


def pool(folder):
    """The templates' numbers, and a unit vector of each."""
    meta = os.path.join(folder, "meta")
    ids = np.loadtxt(os.path.join(meta, "ijbc_face_tid_mid.txt"), usecols=(1, 2), dtype=np.int32)
    scores = np.loadtxt(os.path.join(meta, "ijbc_name_5pts_score.txt"), usecols=11, dtype=np.float32)
    features = np.load(os.path.join(folder, "embeddings.npy"))
    features *= scores[:, None]
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ids = ids[order]
    numbers, starts = np.unique(ids[:, 0], return_index=True)
    ends = np.append(starts[1:], len(ids))
    pooled = np.zeros((len(numbers), features.shape[1]), np.float32)
    for i, (start, end) in enumerate(zip(starts, ends)):
        rows = features[order[start:end]]
        _, firsts, counts = np.unique(ids[start:end, 1], return_index=True, return_counts=True)
        for first, count in zip(firsts, counts):
            pooled[i] += rows[first : first + count].mean(axis=0)
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    return numbers, pooled


def nearest(scores, labels):
    """TAR at the point of the ROC whose FAR is nearest to each target."""
    order = np.argsort(scores, kind="stable")[::-1]
    scores, labels = scores[order], labels[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    tps = np.cumsum(labels, dtype=np.int64)[ends]
    fps = 1 + ends - tps
    corners = np.concatenate(([True], (np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0), [True]))
    tpr = np.append(0, tps[corners])[::-1] / tps[-1]
    fpr = np.append(0, fps[corners])[::-1] / fps[-1]
    return {"tar@%g" % t: float(tpr[np.argmin(np.abs(fpr - t))]) for t in TARGETS}


def verify(folder, numbers, pooled):
    pairs = np.fromfile(os.path.join(folder, "meta", "ijbc_template_pair_label.txt"), np.int32, sep=" ").reshape(-1, 3)
    places = np.zeros(numbers.max() + 1, np.int32)
    places[numbers] = np.arange(len(numbers))
    scores = np.zeros(len(pairs), np.float32)
    batch = 100_000
    for at in range(0, len(pairs), batch):
        some = pairs[at : at + batch]
        scores[at : at + batch] = np.sum(pooled[places[some[:, 0]]] * pooled[places[some[:, 1]]], axis=1)
    return len(pairs), nearest(scores, pairs[:, 2])


def enrolled(folder, name):
    rows = np.loadtxt(os.path.join(folder, "meta", "ijbc_1N_%s.csv" % name), delimiter=",", skiprows=1, usecols=(0, 1), dtype=np.int32)
    templates, first = np.unique(rows[:, 0], return_index=True)
    return templates, rows[first, 1]


def identify(folder, numbers, pooled):
    probes, subjects = enrolled(folder, "probe_mixed")
    places = np.searchsorted(numbers, probes)
    hits, rank1, operations, tpir = 0, 0, 0, {0.01: [], 0.1: []}
    for name in ["gallery_G1", "gallery_G2"]:
        templates, people = enrolled(folder, name)
        operations += len(templates) * len(probes)
        similar = pooled[places] @ pooled[np.searchsorted(numbers, templates)].T
        mated = np.isin(subjects, people)
        column = np.argsort(people)[np.searchsorted(np.sort(people), subjects[mated])]
        rows = similar[mated]
        mates = rows[np.arange(len(rows)), column]
        first = np.argsort(-rows, axis=1)[:, 0] == column
        hits, rank1 = hits + len(rows), rank1 + first.sum()
        others = np.sort(similar[~mated].max(axis=1))[::-1]
        for target, rates in tpir.items():
            limit = others[max(int(len(others) * target) - 1, 0)]
            rates.append((first & (mates > limit)).mean())
    also = {"tpir@%g" % t: float(np.mean(r)) for t, r in tpir.items()}
    also["rank1"] = float(rank1 / hits)
    return operations, also


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["1:1", "1:N"])
    parser.add_argument("--dir", required=True)
    o = parser.parse_args()
    begun, processor = time.perf_counter(), time.process_time()
    numbers, pooled = pool(o.dir)
    if o.phase == "1:N":
        begun, processor = time.perf_counter(), time.process_time()
    operations, also = (verify if o.phase == "1:1" else identify)(o.dir, numbers, pooled)
    print(json.dumps({
        "system": "numpy", "version": np.__version__, "phase": o.phase, "operations": operations,
        "threads": len(os.sched_getaffinity(0)), "seconds": time.perf_counter() - begun, "processor_seconds": time.process_time() - processor,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "also": also,
    }))


if __name__ == "__main__":
    main()
