package store_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
	"facepipe/store/storetest"
)

var update = flag.Bool("update", false, "write golden files anew")

// recorder is a file system that writes down what is asked of it.
type recorder struct {
	durable.OS
	dir   string
	names map[string]string // temporary files get stable names
	log   strings.Builder
}

func (r *recorder) name(path string) string {
	rel, err := filepath.Rel(r.dir, path)
	if err != nil {
		rel = path
	}
	if alias, ok := r.names[rel]; ok {
		return alias
	}
	return rel
}

func (r *recorder) note(format string, args ...any) { fmt.Fprintf(&r.log, format+"\n", args...) }

func (r *recorder) CreateTemp(dir, pattern string) (durable.File, error) {
	f, err := r.OS.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	rel, _ := filepath.Rel(r.dir, f.Name())
	r.names[rel] = filepath.Join(filepath.Dir(rel), fmt.Sprintf("%s%d", durable.TempPrefix, len(r.names)))
	r.note("create %s", r.name(f.Name()))
	return &recordedFile{File: f, r: r}, nil
}

func (r *recorder) Link(a, b string) error {
	r.note("link %s %s", r.name(a), r.name(b))
	return r.OS.Link(a, b)
}

func (r *recorder) Rename(a, b string) error {
	r.note("rename %s %s", r.name(a), r.name(b))
	return r.OS.Rename(a, b)
}

func (r *recorder) Remove(a string) error {
	r.note("remove %s", r.name(a))
	return r.OS.Remove(a)
}

func (r *recorder) Mkdir(a string, perm os.FileMode) error {
	r.note("mkdir %s %o", r.name(a), perm)
	return r.OS.Mkdir(a, perm)
}

func (r *recorder) SyncDir(a string) error {
	r.note("fsync folder %s", r.name(a))
	return r.OS.SyncDir(a)
}

func (r *recorder) Seal(a string, perm os.FileMode) error {
	r.note("chmod and fsync %s %o", r.name(a), perm)
	return r.OS.Seal(a, perm)
}

// recordedFile notes only the first of several writes in a row.
type recordedFile struct {
	durable.File
	r       *recorder
	writing bool
}

func (f *recordedFile) Write(p []byte) (int, error) {
	if !f.writing {
		f.r.note("write %s", f.r.name(f.Name()))
	}
	f.writing = true
	return f.File.Write(p)
}

func (f *recordedFile) Chmod(perm os.FileMode) error {
	f.r.note("chmod %s %o", f.r.name(f.Name()), perm)
	return f.File.Chmod(perm)
}

func (f *recordedFile) Sync() error {
	f.r.note("fsync %s", f.r.name(f.Name()))
	return f.File.Sync()
}

func (f *recordedFile) Close() error {
	f.r.note("close %s", f.r.name(f.Name()))
	return f.File.Close()
}

// The order of file system calls is the commit protocol: nothing refers to a file
// that is not durable under its name.
func TestOrderOfWrites(t *testing.T) {
	parent := t.TempDir()
	r := &recorder{dir: parent, names: map[string]string{}}
	disk := durable.Disk{FS: r}
	dir := filepath.Join(parent, "faces.ds")
	r.note("# a new dataset")
	w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 4, Logger: storetest.Quiet, Disk: disk})
	if err != nil {
		t.Fatal(err)
	}
	src := w.AddSource(storetest.Source)
	add := func(i int) {
		if _, err := w.Append(storetest.Crop(src, i)); err != nil {
			t.Fatal(err)
		}
	}
	r.note("# four crops: a shard fills")
	for i := range 4 {
		add(i)
	}
	r.note("# one crop more, then close")
	add(4)
	storetest.Close(t, w)
	r.note("# a crop and a second thought")
	if w, err = store.OpenWriter(dir, storetest.Contract, store.WriterOptions{ShardRows: 4, Logger: storetest.Quiet, Disk: disk}); err != nil {
		t.Fatal(err)
	}
	add(5)
	storetest.Abort(t, w)

	r.note("# a teacher embeds the first shard")
	d := storetest.OpenOn(t, dir, disk)
	info := storetest.Info(cache.FP16, true)
	tw, err := cache.Create(d, info)
	if err != nil {
		t.Fatal(err)
	}
	storetest.EmbedShard(t, d, tw, info, 0, nil)
	r.note("# and gives up on the second")
	e, err := tw.Shard(1)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Abort(t, e)
	storetest.Close(t, tw)

	r.note("# a plan, and a worker that commits the second shard as a part")
	job := filepath.Join(parent, "job")
	if _, err := plan.WriteOn(disk, job, plan.Plan{Verb: "test", Teacher: &info, Tasks: plan.ShardTasks(d)}); err != nil {
		t.Fatal(err)
	}
	parts, err := cache.OpenParts(d, info, plan.PartsFolder(job))
	if err != nil {
		t.Fatal(err)
	}
	storetest.EmbedShard(t, d, parts, info, 1, nil)
	r.note("# another comes second, with other bits")
	storetest.EmbedShard(t, d, parts, info, 1, func(_ int, e []float32) { e[0]++ })
	r.note("# the merge takes the part over, tidies up, and deletes the parts")
	if err := storetest.MergeParts(d, info, parts); err != nil {
		t.Fatal(err)
	}
	if _, err := parts.Clear(); err != nil {
		t.Fatal(err)
	}
	storetest.Golden(t, "testdata/order.txt", []byte(r.log.String()), *update)
}
