package webdataset

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// compression is how an archive is compressed.
type compression string

// The compressions that are read.
const (
	uncompressed compression = ""
	gzipped      compression = "gzip"
	zstandard    compression = "zstd"
)

// Suffixes are the endings of shards' names, in lower case. Those of compressions that are not
// read are among them: [Open] says what to do with such a shard.
func Suffixes() []string {
	return []string{
		".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst",
		".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz", ".tar.lz4",
	}
}

// foreign are the beginnings of files that are not read, and how to convert them.
var foreign = []struct{ magic, name, remedy string }{
	{"\xfd7zXZ\x00", "an xz archive", "decompress it first, with unxz"},
	{"BZh", "a bzip2 archive", "decompress it first, with bunzip2"},
	{"\x04\x22\x4d\x18", "an lz4 archive", "decompress it first, with unlz4"},
	{"PK\x03\x04", "a zip archive", "unpack it, and give the folder as folder=DIR"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and give the folder as folder=DIR"},
}

// compressionOf tells the compression of a file by its beginning; an error says what to do with
// one that is not read.
func compressionOf(file io.ReaderAt) (compression, error) {
	head := make([]byte, 8)
	n, _ := file.ReadAt(head, 0)
	head = head[:n]
	for _, f := range foreign {
		if strings.HasPrefix(string(head), f.magic) {
			return uncompressed, fmt.Errorf("is %s, which is not read: %s", f.name, f.remedy)
		}
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return gzipped, nil
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")), n > 3 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18":
		return zstandard, nil // a frame, or one that is to be skipped
	}
	return uncompressed, nil
}

// maxWindow bounds the memory of zstd, as its own program does without --long=28 or more.
const maxWindow = 128 << 20

// reader decompresses r; release frees what it holds.
func (c compression) reader(r io.Reader) (plain io.Reader, release func(), err error) {
	if c == zstandard {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	z, err := gzip.NewReader(r)
	return z, func() {}, err
}
