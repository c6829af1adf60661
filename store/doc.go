// Package store keeps datasets of aligned faces, and what teachers make of them, on
// disk. docs/format.md describes the files byte by byte.
//
// A [Crop] is one aligned face: an encoded image of a fixed size with its key,
// identity and landmarks, named by an [ID] that is a digest of its pixels. A dataset
// is a sequence of crops made under one [Contract]. It is cut into shards, each an
// Arrow IPC file with a manifest beside it. A teacher cache holds one model's
// embedding of every crop: its shards are aligned with the crops', row by row. The
// index (Badger) leads from keys, ids and identities to crops; it is derived from the
// shards and rebuilt when it is missing or not theirs.
//
// [OpenWriter] and [Dataset.CreateTeacher] write, one process at a time. A shard
// exists once its manifest does, and a file is referred to only after it is durable:
// a run that is killed at any moment loses the shard in flight, and running it again
// gives the bytes that an uninterrupted run would have given. Files are written once;
// appending adds shards and never touches one.
//
// [Open] reads, by any number of processes, through memory maps. Nothing is handed out
// that was not compared with a checksum first: what is damaged is [ErrDamaged], with
// the file's name. [Check] compares everything.
package store
