// Package table keeps the files that all of a dataset is made of. A table is an Arrow IPC
// file that is written once and read through a memory map: [Writer] makes one and reads it
// back before it gets its name, [File] hands out nothing that was not compared with a
// checksum first. What describes a table is a sealed JSON file, which [EncodeSealed] makes
// and [ReadSealed] reads. What is on disk and is not what was written is [ErrDamaged], and
// the error names the file.
//
// The package knows neither crops nor embeddings: it is for what lies in the same way in all
// tables of a dataset, and for the small things that are common to them (names, modes,
// digests, sets of 128-bit keys, the [Audit] that every layer takes part in).
package table
