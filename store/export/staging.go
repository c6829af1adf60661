package export

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
)

const (
	// markerName is the file in an export that says what it is an export of. Names that
	// begin with a dot are passed over by those who read images from folders.
	markerName   = ".export.json"
	markerFormat = "facepipe export 1"
	lockName     = ".lock"

	// maxMarker is the longest such file that is read, in bytes.
	maxMarker = 1 << 20

	folderMode os.FileMode = 0o755
	fileMode   os.FileMode = 0o644
)

// marker is what an export is of, and how large.
type marker struct {
	Format        string `json:"format"`
	To            string `json:"to"`
	Dataset       string `json:"dataset"` // its digest
	Teacher       string `json:"teacher,omitempty"`
	TeacherDigest string `json:"teacher_digest,omitempty"`
	ShardCrops    int    `json:"shard_crops,omitempty"`
	Rows          int    `json:"rows"`
	LeftOut       int    `json:"left_out,omitempty"`
	Files         int    `json:"files"`
	Bytes         int64  `json:"bytes"`
}

// sameExport compares what is known before an export is made.
func (m marker) sameExport(other marker) bool {
	m.Files, m.Bytes = other.Files, other.Bytes
	return m == other
}

// staging is the folder in which an export grows: beside its later place, so that one
// rename publishes it.
type staging struct {
	out    string
	dir    string
	lock   *durable.Lock
	files  *os.File // dir, opened before anything is written to it: see sync
	marker marker   // its Files and Bytes count what is created
	done   bool     // the export is at its place
}

// newStaging makes an empty staging folder for an export, unless that is there already.
func newStaging(out string, m marker) (*staging, error) {
	out, err := resolve(out)
	if err != nil {
		return nil, err
	}
	s := &staging{out: out, dir: filepath.Join(filepath.Dir(out), "."+filepath.Base(out)+".exporting"), marker: m}
	if err := s.look(); err != nil || s.done {
		return s, err
	}
	if err := durable.MkdirAll(s.dir, folderMode); err != nil {
		return nil, fmt.Errorf("create %s: %w", s.dir, err)
	}
	if s.lock, err = durable.TryLock(filepath.Join(s.dir, lockName)); err != nil {
		return nil, err
	}
	// Whoever had the lock may have published just now.
	if err = s.look(); err == nil && !s.done {
		err = s.empty()
	}
	if err == nil && !s.done {
		s.files, err = durable.OpenFolder(s.dir)
	}
	if err != nil || s.done {
		err = errors.Join(err, s.lock.Unlock())
		s.lock = nil
	}
	return s, err
}

// resolve is the absolute path of out with its links followed, if it is there.
func resolve(out string) (string, error) {
	out, err := filepath.Abs(out)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(out); err == nil {
		out = real
	}
	return out, nil
}

// look finds out what is in the export's place.
func (s *staging) look() error {
	entries, err := os.ReadDir(s.out)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return s.refuseMount()
	}
	data, err := regular.ReadOwn(filepath.Join(s.out, markerName), maxMarker)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is not empty; name a new folder", s.out)
	}
	if err != nil {
		return err
	}
	var have marker
	if err := json.Unmarshal(data, &have); err != nil || !have.sameExport(s.marker) {
		return fmt.Errorf("%s holds another export, or one of an earlier state of the dataset; name a new folder", s.out)
	}
	s.marker, s.done = have, true
	// Left by a run that was killed after it had published.
	_ = os.Remove(filepath.Join(s.out, lockName))
	return nil
}

// refuseMount refuses an empty folder that is a file system's root, before the work:
// nothing can be renamed to it.
func (s *staging) refuseMount() error {
	var here, above unix.Stat_t
	if err := errors.Join(unix.Stat(s.out, &here), unix.Stat(filepath.Dir(s.out), &above)); err != nil {
		return fmt.Errorf("look at %s: %w", s.out, err)
	}
	if here.Dev != above.Dev || here.Ino == above.Ino {
		return fmt.Errorf("%s is where a file system is mounted; name a folder below it", s.out)
	}
	return nil
}

// empty removes what an interrupted run left.
func (s *staging) empty() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
			return fmt.Errorf("remove an interrupted export: %w", err)
		}
	}
	return nil
}

// write makes a file of data, under a path relative to the export.
func (s *staging) write(name string, data []byte) error {
	f, err := s.create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.close())
}

// create begins a file, and the folder it lies in.
func (s *staging) create(name string) (*file, error) {
	path := filepath.Join(s.dir, filepath.FromSlash(name))
	f, err := regular.OpenOwnFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), folderMode); err != nil {
			return nil, err
		}
		f, err = regular.OpenOwnFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	}
	if err != nil {
		return nil, err
	}
	s.marker.Files++
	return &file{stage: s, file: f, buffer: bufio.NewWriterSize(f, 1<<16)}, nil
}

// adopt counts a file that somebody else has written into the export.
func (s *staging) adopt(name string) error {
	info, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		return err
	}
	s.marker.Files++
	s.marker.Bytes += info.Size()
	return nil
}

// file is one of an export's files. The first failure sticks and close returns it.
type file struct {
	stage  *staging
	file   *os.File // nil when closed
	buffer *bufio.Writer
}

var _ io.Writer = (*file)(nil)

func (f *file) Write(p []byte) (int, error) {
	n, err := f.buffer.Write(p)
	f.stage.marker.Bytes += int64(n)
	return n, err
}

// close completes the file. It is durable only after the export is published. Closing
// again, or a nil file, does nothing.
func (f *file) close() error {
	if f == nil || f.file == nil {
		return nil
	}
	err := errors.Join(f.buffer.Flush(), f.file.Close())
	f.file = nil
	return err
}

// publish makes all files durable and gives the export its name.
func (s *staging) publish() error {
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s.marker); err != nil {
		return err
	}
	if err := regular.WriteNew(filepath.Join(s.dir, markerName), data.Bytes(), fileMode); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	// Unlike os.Rename, the system's takes the place of an empty folder.
	if err := unix.Rename(s.dir, s.out); err != nil {
		return fmt.Errorf("rename %s to %s: %w", s.dir, s.out, err)
	}
	s.done = true
	if err := durable.SyncDir(filepath.Dir(s.out)); err != nil {
		return err
	}
	return os.Remove(filepath.Join(s.out, lockName))
}

// sync makes the whole file system durable: one call, where an fsync for each of a
// million small files would take longer than writing them. It tells of what went wrong
// since the descriptor was opened, so that is done before the first file is written.
func (s *staging) sync() error {
	if err := unix.Syncfs(int(s.files.Fd())); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, err)
	}
	return nil
}

// abort removes an export that was not published, and lets go of the lock.
func (s *staging) abort() error {
	if s.lock == nil {
		return nil
	}
	err := s.files.Close()
	if !s.done {
		err = errors.Join(err, s.discard())
	}
	return errors.Join(err, s.lock.Unlock())
}

// discard removes the staging folder with its lock in it. It gets another name first: to
// remove a million files takes a while, in which another run may begin the export anew.
func (s *staging) discard() error {
	away, err := os.MkdirTemp(filepath.Dir(s.dir), filepath.Base(s.dir)+".old-")
	if err != nil {
		return err
	}
	// The system's rename takes the place of an empty folder.
	if err := unix.Rename(s.dir, away); err != nil {
		return errors.Join(fmt.Errorf("rename %s: %w", s.dir, err), os.Remove(away))
	}
	return os.RemoveAll(away)
}
