"""The same rows in other containers: write them, read them at random and in order.

Each call measures one phase of one container and prints a line of JSON as the Go
programs do. The rows are those that `store export` wrote to DIR/rows. What is read is
always the embedding, as float32; containers are used as their users would: the whole
file at once where that is all there is, no compression, since neither crops nor
embeddings have anything to compress.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import time

import numpy as np

IMAGE, DIM, BLOCK = 192, 512, 4096


def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


class Rows:
    """The rows as arrays that map their files."""

    def __init__(self, folder, n):
        def read(name, dtype, width):
            return np.memmap(os.path.join(folder, name), dtype, "r", shape=(n, width))

        self.n = n
        self.ids = read("ids.bin", np.uint8, 16)
        self.images = read("images.bin", np.uint8, IMAGE)
        self.embeddings = read("embeddings.bin", np.float16, DIM)

    def blocks(self):
        for at in range(0, self.n, BLOCK):
            end = min(at + BLOCK, self.n)
            yield at, end, self.ids[at:end], self.images[at:end], self.embeddings[at:end]


class Npy:
    """Three .npy files, mapped; row by row."""

    name, version = "npy", "numpy " + np.__version__

    def write(self, path, rows):
        os.mkdir(path)
        for name in ("ids", "images", "embeddings"):
            data = getattr(rows, name)
            file = os.path.join(path, name + ".npy")
            out = np.lib.format.open_memmap(file, "w+", data.dtype, data.shape)
            for at in range(0, rows.n, BLOCK):
                out[at : at + BLOCK] = data[at : at + BLOCK]
            out.flush()
            sync(file)

    def open(self, path, rows):
        self.data = np.load(os.path.join(path, "embeddings.npy"), "r")

    def row(self, i):
        return self.data[i].astype(np.float32)

    def in_order(self):
        for at in range(0, len(self.data), BLOCK):
            yield self.data[at : at + BLOCK].astype(np.float32)


class Hdf5:
    """One HDF5 file with three contiguous datasets; row by row."""

    name = "hdf5"

    def __init__(self):
        import h5py

        self.h5py, self.version = h5py, "h5py " + h5py.__version__

    def write(self, path, rows):
        os.mkdir(path)
        file = os.path.join(path, "rows.h5")
        with self.h5py.File(file, "w") as f:
            for name in ("ids", "images", "embeddings"):
                data = getattr(rows, name)
                out = f.create_dataset(name, data.shape, data.dtype)
                for at in range(0, rows.n, BLOCK):
                    out[at : at + BLOCK] = data[at : at + BLOCK]
        sync(file)

    def open(self, path, rows):
        self.file = self.h5py.File(os.path.join(path, "rows.h5"), "r")
        self.data = self.file["embeddings"]

    def row(self, i):
        return self.data[i].astype(np.float32)

    def in_order(self):
        for at in range(0, len(self.data), BLOCK):
            yield self.data[at : at + BLOCK].astype(np.float32)


class Parquet:
    """One Parquet file in row groups of 4,096; a row is found by reading its group."""

    name = "parquet"

    def __init__(self):
        import pyarrow
        import pyarrow.parquet

        self.pa, self.pq, self.version = pyarrow, pyarrow.parquet, "pyarrow " + pyarrow.__version__

    def column(self, data):
        width = data.shape[1] * data.itemsize
        return self.pa.FixedSizeBinaryArray.from_buffers(
            self.pa.binary(width), len(data), [None, self.pa.py_buffer(np.ascontiguousarray(data))]
        )

    def write(self, path, rows):
        os.mkdir(path)
        file = os.path.join(path, "rows.parquet")
        widths = {"ids": 16, "images": IMAGE, "embeddings": 2 * DIM}
        schema = self.pa.schema([(name, self.pa.binary(w)) for name, w in widths.items()])
        with self.pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as out:
            for _, _, *data in rows.blocks():
                out.write_table(self.pa.table([self.column(d) for d in data], schema=schema), BLOCK)
        sync(file)

    def open(self, path, rows):
        self.file = self.pq.ParquetFile(os.path.join(path, "rows.parquet"), memory_map=True)

    def vectors(self, column):
        parts = [np.frombuffer(c.buffers()[1], np.float16)[c.offset * DIM :][: len(c) * DIM] for c in column.chunks]
        return np.concatenate(parts).reshape(-1, DIM)

    def row(self, i):
        group = self.file.read_row_group(i // BLOCK, columns=["embeddings"])
        return self.vectors(group.column(0))[i % BLOCK].astype(np.float32)

    def in_order(self):
        for g in range(self.file.num_row_groups):
            yield self.vectors(self.file.read_row_group(g, columns=["embeddings"]).column(0)).astype(np.float32)


class Lmdb:
    """An LMDB environment: the id leads to crop and embedding; by id."""

    name = "lmdb"

    def __init__(self):
        import lmdb

        self.lmdb, self.version = lmdb, "lmdb %d.%d.%d" % lmdb.version() + ", py-lmdb " + lmdb.__version__

    def write(self, path, rows):
        size = rows.n * 4 * (16 + IMAGE + 2 * DIM) + (64 << 20)
        with self.lmdb.open(path, map_size=size) as env:
            for _, _, ids, images, embeddings in rows.blocks():
                with env.begin(write=True) as txn:
                    values = np.hstack([images, embeddings.view(np.uint8)])
                    with txn.cursor() as cursor:
                        cursor.putmulti((i.tobytes(), v.tobytes()) for i, v in zip(ids, values))

    def open(self, path, rows):
        self.env = self.lmdb.open(path, readonly=True, lock=False, readahead=False)
        self.txn = self.env.begin(buffers=True)
        self.ids = [i.tobytes() for i in rows.ids]

    def id(self, i):
        return np.frombuffer(self.txn.get(self.ids[i]), np.float16, offset=IMAGE).astype(np.float32)

    def in_order(self):
        for _, value in self.txn.cursor():
            yield np.frombuffer(value, np.float16, offset=IMAGE).astype(np.float32)


SYSTEMS = {s.name: s for s in (Npy, Hdf5, Parquet, Lmdb)}


def folder_bytes(path):
    return sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(path) for f in files)


def read_for(system, path, rows, read, seconds, seed, barrier, counts):
    s = SYSTEMS[system]()
    s.open(path, rows)
    pick = np.random.default_rng(seed).integers(0, rows.n, 1 << 16).tolist()
    get = getattr(s, read)
    for i in pick[:200]:
        get(i)
    barrier.wait()
    n, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for i in pick[n % len(pick) :][:16]:
            get(i)
        n += 16
    counts.put((n, time.perf_counter() - begun))


def at_random(system, path, rows, read, threads, seconds):
    """Reads rows in that many processes: Python's threads would wait for each other."""
    context = multiprocessing.get_context("fork")
    barrier, counts = context.Barrier(threads), context.Queue()
    workers = [
        context.Process(target=read_for, args=(system, path, rows, read, seconds, t, barrier, counts))
        for t in range(threads)
    ]
    for w in workers:
        w.start()
    results = [counts.get() for _ in workers]
    for w in workers:
        w.join()
    return sum(n for n, _ in results), max(t for _, t in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("phase", choices=["write", "read-row", "read-id", "sequential"])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=2)
    o = parser.parse_args()
    rows = Rows(os.path.join(o.dir, "rows"), o.rows)
    path = os.path.join(o.dir, o.system)
    system = SYSTEMS[o.system]()
    result = {"system": o.system, "version": system.version, "phase": o.phase, "rows": o.rows}
    if o.phase == "write":
        shutil.rmtree(path, ignore_errors=True)
        for _ in rows.blocks():
            pass  # maps
        rows.embeddings.sum(dtype=np.float32), rows.images.sum()  # into the page cache
        begun = time.perf_counter()
        system.write(path, rows)
        result |= {"operations": o.rows, "seconds": time.perf_counter() - begun, "bytes": folder_bytes(path)}
    elif o.phase == "sequential":
        system.open(path, rows)
        times = []
        for _ in range(4):
            begun, total = time.perf_counter(), 0
            for block in system.in_order():
                total += block.size // DIM
            times.append(time.perf_counter() - begun)
            assert total == o.rows, total
        # The first round fills the page cache.
        result |= {"operations": o.rows, "seconds": sorted(times[1:])[1], "threads": 1}
    else:
        read = o.phase.removeprefix("read-")
        n, seconds = at_random(o.system, path, rows, read, o.threads, o.seconds)
        result |= {"operations": n, "seconds": seconds, "threads": o.threads}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(result | {"processor_seconds": usage.ru_utime + usage.ru_stime}))


if __name__ == "__main__":
    main()
