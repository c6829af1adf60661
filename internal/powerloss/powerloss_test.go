package powerloss

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/durable"
)

// outcomes are the states after the first n calls in words, each once, sorted.
func outcomes(h *History, n, limit int, lost ...int) []string {
	rng := rand.New(rand.NewPCG(1, 1))
	seen := map[string]bool{}
	for _, s := range h.After(n, lost...).States(limit, rng) {
		var words []string
		for _, path := range slices.Sorted(maps.Keys(s)) {
			word := path + "/"
			if e := s[path]; !e.folder {
				word = fmt.Sprintf("%s=%q", path, e.data)
			}
			words = append(words, word)
		}
		seen[strings.Join(words, " ")] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func watch(t *testing.T) (*Disk, string) {
	t.Helper()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "before"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	return d, root
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// put writes a file past the temporary names, syncing or not.
func put(t *testing.T, d *Disk, path, text string, sync bool) {
	t.Helper()
	f, err := d.CreateTemp(filepath.Dir(path), ".tmp-*")
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	if sync {
		must(t, f.Sync())
	}
	must(t, f.Close())
	must(t, d.Rename(f.Name(), path))
}

func TestOutcomes(t *testing.T) {
	// Temporary names are random; no state below has one left, except where said.
	const b = `before="b"`
	for _, tc := range []struct {
		name string
		do   func(t *testing.T, d *Disk, root string)
		want []string // states without temporary names
	}{
		{"nothing", func(*testing.T, *Disk, string) {}, []string{b}},
		{"synced bytes under a synced name", func(t *testing.T, d *Disk, root string) {
			put(t, d, root+"/f", "x", true)
			must(t, d.SyncDir(root))
		}, []string{b + ` f="x"`}},
		{"a name not synced", func(t *testing.T, d *Disk, root string) {
			put(t, d, root+"/f", "x", true)
		}, []string{b, b + ` f="x"`}},
		{"bytes not synced", func(t *testing.T, d *Disk, root string) {
			put(t, d, root+"/f", "x", false)
			must(t, d.SyncDir(root))
		}, []string{b + ` f=""`, b + ` f="\x00"`, b + ` f="x"`}},
		{"a name replaced", func(t *testing.T, d *Disk, root string) {
			put(t, d, root+"/before", "x", true)
		}, []string{b, `before="x"`}},
		{"a file removed", func(t *testing.T, d *Disk, root string) {
			must(t, d.Remove(root+"/before"))
		}, []string{"", b}},
		{"a folder not synced takes all with it", func(t *testing.T, d *Disk, root string) {
			must(t, d.Mkdir(root+"/a", 0o755))
			must(t, d.SyncDir(root+"/a"))
			put(t, d, root+"/a/f", "x", true)
			must(t, d.SyncDir(root+"/a"))
		}, []string{`a/ a/f="x" ` + b, b}},
		{"a folder's name does not stand for its content", func(t *testing.T, d *Disk, root string) {
			must(t, d.Mkdir(root+"/a", 0o755))
			put(t, d, root+"/a/f", "x", true)
			must(t, d.SyncDir(root))
		}, []string{`a/ a/f="x" ` + b, "a/ " + b}},
		{"the later change without the earlier", func(t *testing.T, d *Disk, root string) {
			put(t, d, root+"/f", "x", true)
			put(t, d, root+"/g", "y", true)
		}, []string{b, b + ` f="x"`, b + ` f="x" g="y"`, b + ` g="y"`}},
		{"two names of one file", func(t *testing.T, d *Disk, root string) {
			must(t, d.Link(root+"/before", root+"/c"))
			must(t, d.SyncDir(root))
			must(t, d.Remove(root+"/before"))
		}, []string{b + ` c="b"`, `c="b"`}},
		{"a folder renamed", func(t *testing.T, d *Disk, root string) {
			must(t, d.Mkdir(root+"/a", 0o755))
			put(t, d, root+"/a/f", "x", true)
			must(t, d.SyncDir(root+"/a"))
			must(t, d.SyncDir(root))
			must(t, d.Rename(root+"/a", root+"/z"))
			put(t, d, root+"/z/f", "y", true)
			must(t, d.SyncDir(root+"/z"))
		}, []string{`a/ a/f="y" ` + b, b + ` z/ z/f="y"`}},
		{"a file written past the disk", func(t *testing.T, d *Disk, root string) {
			must(t, os.WriteFile(root+"/s", []byte("s"), 0o600))
			must(t, d.Seal(root+"/s", 0o444))
		}, []string{b, b + ` s="s"`}},
		{"and its name synced", func(t *testing.T, d *Disk, root string) {
			must(t, os.WriteFile(root+"/s", []byte("s"), 0o600))
			must(t, d.Seal(root+"/s", 0o444))
			must(t, d.SyncDir(root))
		}, []string{b + ` s="s"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, root := watch(t)
			tc.do(t, d, root)
			h := d.History()
			var got []string
			for _, s := range outcomes(h, h.Len(), 1000) {
				if !strings.Contains(s, ".tmp-") {
					got = append(got, s)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got  %q\nwant %q", got, tc.want)
			}
			if len(h.Syncs()) > 0 {
				if all, less := outcomes(h, h.Len(), 1000), outcomes(h, h.Len(), 1000, h.Syncs()...); len(less) <= len(all) {
					t.Errorf("without its syncs there are %d states, with them %d", len(less), len(all))
				}
			}
		})
	}
}

// What package durable promises holds on this disk: after WriteFile returns there is
// one state, before that two.
func TestDurable(t *testing.T) {
	d, root := watch(t)
	disk := durable.Disk{FS: d}
	must(t, disk.WriteFile(filepath.Join(root, "before"), []byte("new"), 0o644))
	h := d.History()
	if got := outcomes(h, h.Len(), 1000); !slices.Equal(got, []string{`before="new"`}) {
		t.Errorf("after it: %q", got)
	}
	for n := range h.Len() {
		for _, s := range h.After(n).States(1000, rand.New(rand.NewPCG(1, 1))) {
			if text := string(s["before"].data); text != "b" && text != "new" {
				t.Errorf("after call %d, %s: %q", n, h.Describe(n), text)
			}
		}
	}
}

// A limit keeps the extremes.
func TestLimit(t *testing.T) {
	d, root := watch(t)
	for i := range 12 {
		put(t, d, fmt.Sprintf("%s/f%02d", root, i), "x", true)
	}
	h := d.History()
	states := h.After(h.Len()).States(100, rand.New(rand.NewPCG(1, 1)))
	if len(states) < 98 || len(states) > 110 {
		t.Errorf("%d states", len(states))
	}
	if len(states[0]) != 1 || len(states[1]) != 13 {
		t.Errorf("%d files if nothing survives, %d if everything does", len(states[0]), len(states[1]))
	}
}

func TestWrite(t *testing.T) {
	d, root := watch(t)
	must(t, d.Mkdir(root+"/a", 0o755))
	put(t, d, root+"/a/f", "x", true)
	must(t, d.SyncDir(root+"/a"))
	must(t, d.SyncDir(root))
	h := d.History()
	states := h.After(h.Len()).States(10, nil)
	if len(states) != 1 {
		t.Fatalf("%d states", len(states))
	}
	to := t.TempDir()
	must(t, states[0].Write(to))
	again, err := Watch(to)
	must(t, err)
	s := again.History().After(0).States(10, nil)[0]
	all := func(string) bool { return false }
	if s.Sum(all) != states[0].Sum(all) {
		t.Error("a state that was written is another")
	}
	s["a/f"] = entry{data: []byte("y")}
	if s.Sum(all) == states[0].Sum(all) {
		t.Error("other bytes, same sum")
	}
	if s.Sum(func(path string) bool { return path == "a/f" }) != states[0].Sum(func(path string) bool { return path == "a/f" }) {
		t.Error("bytes that do not count, other sum")
	}
}

func TestRenameAcrossFolders(t *testing.T) {
	d, root := watch(t)
	must(t, d.Mkdir(root+"/a", 0o755))
	if err := d.Rename(root+"/before", root+"/a/before"); err == nil {
		t.Error("a renaming across folders, which is not whole on every disk, was taken")
	}
}
