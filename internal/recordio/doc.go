// Package recordio reads and writes MXNet's RecordIO files, and the files beside them.
// insightface and its relatives keep face datasets in them.
//
// A .rec file is a sequence of frames, each at a multiple of 4 bytes, all numbers
// little-endian:
//
//	uint32 magic 0xced7230a | uint32 part<<29|length | length bytes | 0 to 3 zero bytes
//
// A record is one frame (part 0), or a first (1), some middle (2) and a last one (3). Where
// the magic word stands at a multiple of 4 bytes in a record, the writer ends a frame and
// leaves the word out, and the reader puts it back. So a magic word at a multiple of 4 is
// always a frame's head, and a [Scanner] finds its way after damage. Source of the format:
// dmlc-core's recordio.
//
// A record is a [Header] and an image. A .idx file ([ReadIndex]) gives records their keys. A
// .lst file ([ListReader]) lists what a .rec was packed from. insightface adds a [Property]
// file and records without an image, see [Writer].
package recordio
