package webdataset

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
)

// Shard is one archive. Its file does not stay open. Its methods may be called from several
// goroutines, but Walk by one at a time.
type Shard struct {
	path    string
	size    int64
	changed time.Time
	packed  compression
	walked  *os.File // by Walk

	mu       sync.Mutex
	surveyed *survey // nil before the first walk
}

// Visitor has the functions that [Shard.Walk] calls.
type Visitor struct {
	// Hold says which members to read on the way and hold in memory, at most [MaxHeld] bytes
	// of a sample. [Shard.Read] reads the others. For that a compressed archive is read again
	// from its beginning.
	Hold func(m *Member) bool
	// Sample is called for every sample.
	Sample func(Sample) error
	// Damage is called for what cannot be read, between the samples that surround it.
	Damage func(Damage) error
}

// Damage is a part of an archive that cannot be read.
type Damage struct {
	// Offset is where it begins in the archive, after decompression. Reading goes on Length
	// bytes further.
	Offset, Length int64
	Err            error
}

// Open looks at the shard at path, which must be a regular file.
func Open(path string) (*Shard, error) {
	file, info, err := regular.OpenInput(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	packed, err := compressionOf(file)
	if err != nil {
		return nil, err
	}
	return &Shard{path: path, size: info.Size(), changed: info.ModTime(), packed: packed}, nil
}

// Compressed says whether members are expensive to read again.
func (s *Shard) Compressed() bool { return s.packed != uncompressed }

// open opens the file, if it is still the one that was looked at.
func (s *Shard) open() (*os.File, error) {
	file, err := regular.Open(s.path)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (info.Size() != s.size || !info.ModTime().Equal(s.changed)) {
		err = errors.New("archive has changed while it was read")
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Read gives a member's bytes. Before they are read into memory admit is asked.
func (s *Shard) Read(m *Member, admit imgcodec.Admit) ([]byte, error) {
	if m.Fault != nil || m.held {
		return m.data, m.Fault
	}
	file, err := s.open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !s.Compressed() {
		return imgcodec.Read(file, m.offset, m.Size, admit)
	}
	if err := admit.Ask(m.Size, m.Head()); err != nil {
		return nil, err
	}
	return s.inflate(file, m)
}

// unpacking bounds the windows of zstd, of up to [maxWindow] each: members are inflated one by one.
var unpacking sync.Mutex

// inflate reads a member of a compressed archive.
func (s *Shard) inflate(file *os.File, m *Member) ([]byte, error) {
	if s.packed == zstandard {
		unpacking.Lock()
		defer unpacking.Unlock()
	}
	in, err := newInput(context.Background(), file, s.size, s.packed)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := in.skip(m.offset); err != nil {
		return nil, err
	}
	return in.read(m.Size)
}

// Walk calls v for all that is in the shard, in its order: a sample comes where its first member
// is. Its errors are those of v, ctx's, and those of opening the file. Damage within the file
// goes to v.
//
// Before the first walk the shard is looked through for samples whose members lie apart, as in
// an archive that tar made without --sort=name. Such a shard is gathered, see [gathering].
func (s *Shard) Walk(ctx context.Context, v Visitor) error {
	found, err := s.survey(ctx)
	if err != nil {
		return err
	}
	if found.scattered {
		return s.gather(ctx, v)
	}
	return s.pass(ctx, walk{ctx: ctx, v: v})
}

// pass goes through the file once.
func (s *Shard) pass(ctx context.Context, w walk) error {
	file, err := s.open()
	if err != nil {
		return err
	}
	defer file.Close()
	s.walked = file
	in, err := newInput(ctx, file, s.size, s.packed)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return w.v.Damage(Damage{Err: describe(err), Length: s.size})
	}
	defer in.close()
	w.archive = archive{in}
	return w.run()
}

// walk is one passage through a shard.
type walk struct {
	ctx     context.Context
	v       Visitor
	archive archive
	sample  Sample // members are still to come
	held    int64  // bytes of it in memory
	usual   string // extensions of samples far from damage
	damaged error  // right before the sample
	// parts says that samples need not be whole, so that members beside damage miss nothing.
	parts bool
}

func (w *walk) run() error {
	for {
		at := w.archive.in.pos
		h, err := w.archive.next()
		switch {
		case err == nil && h.refused != nil:
			err = w.passOver(h, at)
		case err == nil:
			err = w.member(h)
		}
		if err == nil {
			continue
		}
		var stop *visitError
		switch {
		case errors.As(err, &stop):
			return stop.err
		case w.ctx.Err() != nil:
			return w.ctx.Err()
		}
		if goOn, err := w.recover(at, err); !goOn {
			return err
		}
	}
}

// visitError is an error that the visitor has returned.
type visitError struct{ err error }

func (e *visitError) Error() string { return e.err.Error() }

// member adds a member to the sample and goes past its data. An error that is no [visitError]
// is damage, which is the member's fault already.
func (w *walk) member(h header) error {
	in := w.archive.in
	key, m, ok := h.member()
	if !ok {
		return w.archive.skipData(h.size)
	}
	m.offset = in.pos
	m.look(in)
	if key != w.sample.Key || len(w.sample.Members) == maxMembers {
		var again error
		if key == w.sample.Key {
			again = fmt.Errorf("sample has more than %d members", maxMembers)
			w.sample.Fault = again
		}
		if err := w.flush(); err != nil {
			return &visitError{err}
		}
		w.sample = Sample{Key: key, Fault: again}
	}
	err := w.load(&m, h.size)
	if err != nil && m.Fault == nil {
		m.Fault = describe(err)
	}
	w.sample.Members = append(w.sample.Members, m)
	return err
}

// passOver goes past a member that cannot be taken, whose header began at a place. What lies beside it
// misses nothing.
func (w *walk) passOver(h header, at int64) error {
	if err := w.archive.skipData(h.size); err != nil {
		return err
	}
	err := w.flush()
	if err == nil {
		err = w.v.Damage(Damage{Offset: at, Length: w.archive.in.pos - at, Err: h.refused})
	}
	if err != nil {
		return &visitError{err}
	}
	return nil
}

// load goes past a member's data, reading them if they are to be held.
func (w *walk) load(m *Member, size int64) error {
	in := w.archive.in
	if m.Fault != nil || size > MaxHeld-w.held || size > in.left() || !w.v.Hold(m) {
		return w.archive.skipData(size)
	}
	data, err := in.read(size)
	if err != nil {
		return err
	}
	m.data, m.held = data, true
	w.held += size
	return w.archive.skipPadding(size)
}

// flush passes the sample to the visitor.
func (w *walk) flush() error {
	s := w.sample
	w.sample, w.held = Sample{}, 0
	if len(s.Members) == 0 {
		return nil
	}
	extensions := s.extensions()
	if w.damaged != nil && !w.parts && s.Fault == nil && extensions != w.usual {
		s.Fault = w.damaged
	}
	if w.damaged == nil && s.Fault == nil {
		w.usual = extensions
	}
	w.damaged = nil
	return w.v.Sample(s)
}

// recover goes on behind damage, or behind the archive's end if more follows. goOn is false at
// the end.
func (w *walk) recover(at int64, cause error) (goOn bool, err error) {
	in := w.archive.in
	proper := cause == io.EOF
	zeros, err := in.nextHeader()
	switch {
	case w.ctx.Err() != nil:
		return false, w.ctx.Err()
	case err != nil && err != io.EOF: // nothing more can be read
		return false, w.report(Damage{Offset: at, Length: in.pos - at, Err: describe(err)})
	case proper && zeros:
		// This is the end, or several archives in one file, which count as one.
		if err == nil {
			return true, nil
		}
		return false, w.flush()
	case proper:
		cause = errBehind
	}
	if err := w.report(Damage{Offset: at, Length: in.pos - at, Err: describe(cause)}); err != nil {
		return false, err
	}
	return err == nil, nil
}

// report passes the sample before damage to the visitor, and then the damage.
func (w *walk) report(d Damage) error {
	w.damaged = fmt.Errorf("archive is damaged next to it: %w", d.Err)
	if err := w.flush(); err != nil {
		return err
	}
	w.damaged = fmt.Errorf("archive is damaged next to it: %w", d.Err)
	return w.v.Damage(d)
}

// describe puts damage into words.
func describe(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("is cut short")
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", path.Op, path.Err)
	}
	return err
}
