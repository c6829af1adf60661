// Package store keeps datasets of aligned faces on disk: their crops, and how these are
// written, read and looked up. docs/format.md describes the files byte by byte.
//
// A [Crop] is one aligned face: an encoded image of a fixed size with its key,
// identity and landmarks, named by an [ID] that is a digest of its pixels. A dataset
// is a sequence of crops made under one [Contract]. It is cut into shards, each an
// Arrow IPC file with a manifest beside it. The index (Badger) leads from keys and ids to
// crops; it is derived from the shards and rebuilt when it is missing or not theirs.
//
// [OpenWriter] writes, one process at a time. A shard exists once its manifest does, and a
// file is referred to only after it is durable: a run that is killed at any moment loses the
// shard in flight, and running it again gives the bytes that an uninterrupted run would have
// given. Files are written once; appending adds shards and never touches one.
//
// [Open] reads, by any number of processes, through memory maps. Nothing is handed out
// that was not compared with a checksum first: what is damaged is [ErrDamaged], with
// the file's name.
//
// What is made of the crops is in packages beside this one. store/cache holds one model's
// embedding of every crop, in shards that are aligned with the crops', row by row;
// store/derived what is made of the embeddings (class centres) or goes with them (a
// classifier). store/plan is for work that many share, store/merge puts datasets together,
// store/check compares everything on disk with its checksums, store/info sums it up and
// store/export writes other programs' forms. Below lie the verified tables that everything is
// made of (store/internal/table) and the index (store/internal/index).
package store
