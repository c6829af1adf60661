package webdataset

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"

	"facepipe/internal/ctxio"
)

// windowBytes is how much of an archive is in memory at a time.
const windowBytes = 32 << 10

// input goes forward through the archive in a file.
type input struct {
	r    *bufio.Reader
	file *os.File // to seek in; nil if the archive is compressed
	pos  int64    // in the archive
	size int64    // of the archive; -1 if that is not known
	ctx  context.Context
	// close frees what decompression holds.
	close func()
}

// newInput reads the archive in file from its beginning, until ctx is done, as a member of a
// compressed archive may be endless.
func newInput(ctx context.Context, file *os.File, size int64, packed compression) (*input, error) {
	in := &input{ctx: ctx, size: -1, close: func() {}}
	if packed == uncompressed {
		in.file, in.size = file, size
		in.r = bufio.NewReaderSize(ctxio.NewReader(ctx, file), windowBytes)
		return in, nil
	}
	r, release, err := packed.reader(bufio.NewReaderSize(ctxio.NewReader(ctx, file), windowBytes))
	if err != nil {
		return nil, truncation(err)
	}
	in.close = release
	in.r = bufio.NewReaderSize(ctxio.NewReader(ctx, r), windowBytes)
	return in, nil
}

// peek shows the next n bytes, fewer only at the end or before an error.
func (in *input) peek(n int) ([]byte, error) {
	b, err := in.r.Peek(n)
	if err == io.EOF {
		err = nil
	}
	return b, err
}

// left is how many bytes of the archive lie ahead; the largest number if that is not
// known.
func (in *input) left() int64 {
	if in.size < 0 {
		return 1<<63 - 1
	}
	return max(in.size-in.pos, 0)
}

// skip passes over n bytes; io.ErrUnexpectedEOF if there are fewer.
func (in *input) skip(n int64) error {
	if in.file != nil && n > int64(in.r.Buffered()) && n <= in.left() {
		if _, err := in.file.Seek(in.pos+n, io.SeekStart); err != nil {
			return err
		}
		in.r.Reset(ctxio.NewReader(in.ctx, in.file))
		in.pos += n
		return in.ctx.Err()
	}
	skipped, err := io.CopyN(io.Discard, in.r, n)
	in.pos += skipped
	return truncation(err)
}

// read gives the next n bytes; io.ErrUnexpectedEOF if there are fewer.
func (in *input) read(n int64) ([]byte, error) {
	data := make([]byte, n)
	got, err := io.ReadFull(in.r, data)
	in.pos += int64(got)
	return data, truncation(err)
}

// truncation gives an end in the middle of something its own error.
func truncation(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextHeader goes forward to the next sound header with the magic of tar. It may be at any
// offset, as lost bytes shift what follows them. zeros says whether all skipped bytes are
// zeros. io.EOF if there is no more header.
func (in *input) nextHeader() (zeros bool, err error) {
	zeros = true
	pass := func(window []byte) {
		zeros = zeros && len(bytes.Trim(window, "\x00")) == 0
		n, _ := in.r.Discard(len(window))
		in.pos += int64(n)
	}
	for {
		window, err := in.peek(windowBytes)
		at, found := findHeader(window)
		if found {
			pass(window[:at])
			return zeros, nil
		}
		if len(window) < windowBytes { // the last one
			pass(window)
			if err == nil {
				err = io.EOF
			}
			return zeros, err
		}
		pass(window[:at])
	}
}

// findHeader looks for a header in a window. at is where it begins or, if there is none, how
// much of the window belongs to no header.
func findHeader(window []byte) (at int, found bool) {
	for {
		i := bytes.Index(window[min(at+magicAt, len(window)):], []byte(magic))
		if i < 0 || at+i+blockBytes > len(window) {
			break
		}
		at += i
		if _, err := parseHeader(window[at : at+blockBytes]); err == nil {
			return at, true
		}
		at++
	}
	return max(at, len(window)-blockBytes+1, 0), false
}
