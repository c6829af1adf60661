// Package teacher runs a teacher, a strong ONNX face embedder, once over every crop of a
// dataset and caches its embeddings. After that, training a student costs what the student
// costs.
//
// The cache ([cache.Cache]) has a shard of embeddings for each shard of crops, row for row.
// All are made under one fingerprint: the model's bytes, its preprocessing, whether mirror
// images are embedded, and the element type. A shard is committed as a whole. A run that was
// killed goes on with the missing shards, and a run over a complete cache computes nothing.
//
// [Precompute] fills a cache. [Replay] embeds some crops again and compares. Package compare
// compares two caches, and package classifier imports a teacher's classifier matrix.
package teacher
