"""Crops into embeddings with OpenCV and ONNX Runtime: decode, normalise, run.

Prints a line of JSON as the Go programs do. One process, a batch at a time, as a script
would do it: decode a batch, make it the model's input with blobFromImages (as insightface's
own scripts do), run the model, keep the result in half precision. OpenCV and ONNX Runtime have all processors; neither opening the model nor
writing the result counts.
"""

import argparse
import glob
import json
import os
import time

import cv2
import numpy as np
import onnxruntime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase")
    parser.add_argument("--dir", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--crops", type=int, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    o = parser.parse_args()
    paths = sorted(glob.glob(os.path.join(o.dir, "crops", "*", "*.jpg")))[: o.crops]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = o.threads
    session = onnxruntime.InferenceSession(o.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    session.run(None, {name: np.zeros((o.batch, 3, 112, 112), np.float32)})  # plans its memory
    embeddings = []
    begun = time.perf_counter()
    for at in range(0, len(paths), o.batch):
        crops = [cv2.imread(p) for p in paths[at : at + o.batch]]
        batch = cv2.dnn.blobFromImages(crops, 1 / 127.5, (112, 112), (127.5, 127.5, 127.5), swapRB=True)
        embeddings.append(session.run(None, {name: batch})[0].astype(np.float16))
    seconds = time.perf_counter() - begun
    np.save(os.path.join(o.dir, "python.npy"), np.concatenate(embeddings))
    print(json.dumps({
        "system": "python", "version": "onnxruntime %s, OpenCV %s" % (onnxruntime.__version__, cv2.__version__),
        "phase": o.phase, "rows": o.crops, "operations": len(paths), "threads": o.threads, "seconds": seconds,
    }))


if __name__ == "__main__":
    main()
