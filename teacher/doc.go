// Package teacher runs a teacher, a strong ONNX face embedder, once over every crop
// of a dataset and caches its embeddings, so that students can be trained at the
// price of the student alone.
//
// The cache ([store.Teacher]) is a shard of embeddings for each shard of crops, row
// for row, made under one fingerprint: the model's bytes, its preprocessing, whether
// mirror images are embedded, and the element type. A shard is committed as a whole.
// A run that was killed goes on with the shards that are missing, and a run over a
// complete cache computes nothing.
//
// [Precompute] fills a cache; [Replay] embeds some crops again and compares.
package teacher
