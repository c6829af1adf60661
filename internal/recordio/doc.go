// Package recordio reads and writes MXNet's RecordIO files, and the files that lie
// beside them: what insightface and its relatives keep face datasets in.
//
// A .rec file is a sequence of frames, each at a multiple of 4 bytes, all numbers
// little-endian:
//
//	uint32 magic 0xced7230a | uint32 part<<29|length | length bytes | 0 to 3 zero bytes
//
// A record is one frame (part 0), or a first (1), some middle (2) and a last one (3):
// wherever the magic word stands at a multiple of 4 bytes in a record, the writer ends
// a frame and leaves the word out, and the reader puts it back. So a magic word at a
// multiple of 4 is a frame's head and nothing else, which is how a [Scanner] finds its
// way after damage. Source of the format: dmlc-core's recordio.
//
// A record is a [Header] and an image. A .idx file ([ReadIndex]) gives records their
// keys, a .lst file ([ListReader]) is what a .rec was packed from, and insightface
// adds a [Property] file and records without an image, see [Writer].
package recordio
