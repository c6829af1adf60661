package synthface

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image/jpeg"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var few = FolderOptions{Identities: 3, PerIdentity: 4, FirstIdentity: 5, Size: 80, Seed: 1, Hard: 1}

func write(t *testing.T, dir string, o FolderOptions) Manifest {
	t.Helper()
	m, err := WriteFolder(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWriteFolder(t *testing.T) {
	dir := t.TempDir()
	m := write(t, dir, few)
	if m.Images != 12 || m.Identities != 3 || m.Pairs != 360 {
		t.Errorf("manifest %+v", m)
	}
	lines := strings.Split(strings.TrimSpace(readFile(t, m.LandmarksFile)), "\n")
	if len(lines) != m.Images {
		t.Fatalf("%d lines of landmarks for %d images", len(lines), m.Images)
	}
	for n, line := range lines {
		i, j := few.FirstIdentity+n/few.PerIdentity, n%few.PerIdentity
		key, numbers, _ := strings.Cut(line, "\t")
		if want := fmt.Sprintf("id_%04d/id_%04d_%04d.jpg", i, i, j+1); key != want || Key(i, j) != want {
			t.Errorf("line %d: key %s, want %s", n+1, key, want)
		}
		var got [10]float64
		for k, field := range strings.Fields(numbers) {
			if _, err := fmt.Sscan(field, &got[k]); err != nil {
				t.Fatalf("line %d: %v", n+1, err)
			}
		}
		for k, want := range New(few.Seed).Landmarks(i, j, few.photo()) {
			if d := got[k] - want; d > 0.0006 || d < -0.0006 {
				t.Errorf("line %d: %v", n+1, got)
			}
		}
		img, err := jpeg.Decode(strings.NewReader(readFile(t, filepath.Join(m.ImageDir, key))))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if size := img.Bounds().Size(); size.X != few.Size || size.Y != few.Size {
			t.Errorf("%s has %v pixels", key, size)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// digest is a digest of all names and contents below dir.
func digest(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fmt.Fprintln(h, name)
		h.Write([]byte(readFile(t, filepath.Join(dir, name))))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestFolderDoesNotDependOnWorkers(t *testing.T) {
	many, one := t.TempDir(), t.TempDir()
	write(t, many, few)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	write(t, one, few)
	if digest(t, many) != digest(t, one) {
		t.Error("one worker writes other bytes than several")
	}
}

func TestFolderIsWrittenOnce(t *testing.T) {
	dir := t.TempDir()
	m := write(t, dir, few)
	image := filepath.Join(m.ImageDir, filepath.FromSlash(Key(5, 0)))
	before, err := os.Stat(image)
	if err != nil {
		t.Fatal(err)
	}
	if again := write(t, dir, few); again != m {
		t.Errorf("the second call says %+v, the first %+v", again, m)
	}
	if after, err := os.Stat(image); err != nil || !os.SameFile(before, after) || after.ModTime() != before.ModTime() {
		t.Error("the second call wrote the images again")
	}

	complete := digest(t, dir)
	other := few
	other.PerIdentity++
	if _, err := WriteFolder(t.Context(), dir, other); !errors.Is(err, ErrOtherFaces) {
		t.Errorf("other options: %v", err)
	}
	if digest(t, dir) != complete {
		t.Error("other options changed the folder")
	}
	if err := os.Remove(filepath.Join(dir, descriptionName)); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteFolder(t.Context(), dir, few); !errors.Is(err, ErrOtherFaces) {
		t.Errorf("images of unknown origin: %v", err)
	}
}

func TestFolderAfterInterruption(t *testing.T) {
	want, dir := t.TempDir(), t.TempDir()
	write(t, want, few)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := WriteFolder(ctx, dir, few); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, imagesName)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a cancelled call left a folder of images")
	}
	// What a killed call may leave: half an image, and one of another number.
	stale := filepath.Join(dir, unfinishedName, name(99))
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(stale, "half.jpg"), []byte{0xff, 0xd8}, 0o644); err != nil {
		t.Fatal(err)
	}
	write(t, dir, few)
	if digest(t, dir) != digest(t, want) {
		t.Error("an interrupted and repeated call writes other bytes than a quiet one")
	}
}

func TestFolderRefuses(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		dir  string
		edit func(*FolderOptions)
		want string
	}{
		{"nobody", "", func(o *FolderOptions) { o.Identities = 0 }, "0 people"},
		{"no pictures", "", func(o *FolderOptions) { o.PerIdentity = 0 }, "0 pictures"},
		{"negative start", "", func(o *FolderOptions) { o.FirstIdentity = -1 }, "number -1"},
		{"size", "", func(o *FolderOptions) { o.Size = 3 }, "size 3"},
		{"difficulty", "", func(o *FolderOptions) { o.Hard = 9 }, "difficulty 9"},
		{"a file in the way", blocked, func(*FolderOptions) {}, blocked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o, dir := few, tt.dir
			if dir == "" {
				dir = t.TempDir()
			}
			tt.edit(&o)
			if _, err := WriteFolder(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestPairs(t *testing.T) {
	tests := []struct {
		name      string
		o         FolderOptions
		perFold   int
		separated bool // no person in two folds
	}{
		{"one picture each", FolderOptions{Identities: 50, PerIdentity: 1}, 0, true},
		{"one person", FolderOptions{Identities: 1, PerIdentity: 50}, 0, false},
		{"two people, two pictures", FolderOptions{Identities: 2, PerIdentity: 2}, 2, false},
		{"few people", FolderOptions{Identities: 19, PerIdentity: 5}, 190, false},
		{"two people a fold", FolderOptions{Identities: 20, PerIdentity: 4}, 12, true},
		{"uneven folds", FolderOptions{Identities: 47, PerIdentity: 6, FirstIdentity: 30}, 60, true},
		{"LFW's size", FolderOptions{Identities: 400, PerIdentity: 10}, 300, true},
		{"huge", FolderOptions{Identities: 1 << 40, PerIdentity: 1 << 30}, 300, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.o.pairsPerFold(); got != tt.perFold {
				t.Fatalf("%d pairs of each kind a fold, want %d", got, tt.perFold)
			}
			if tt.perFold == 0 {
				return
			}
			list := tt.o.pairs()
			if !bytes.Equal(list, tt.o.pairs()) {
				t.Error("another call draws other pairs")
			}
			checkPairs(t, tt.o, list, tt.perFold, tt.separated)
		})
	}
}

func checkPairs(t *testing.T, o FolderOptions, list []byte, perFold int, separated bool) {
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	if lines[0] != fmt.Sprintf("10\t%d", perFold) || len(lines) != 1+20*perFold {
		t.Fatalf("%d lines after %q", len(lines)-1, lines[0])
	}
	home := map[int]int{}
	for fold := range folds {
		seen := map[pair]bool{}
		for n, line := range lines[1+2*perFold*fold:][:2*perFold] {
			p, err := parsePair(line, n < perFold)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if seen[p] || p.i1 == p.i2 && p.j1 == p.j2 || (p.i1 == p.i2) != (n < perFold) {
				t.Errorf("fold %d: %q", fold, line)
			}
			seen[p] = true
			for _, i := range []int{p.i1, p.i2} {
				if i < o.FirstIdentity || i >= o.FirstIdentity+o.Identities {
					t.Errorf("%q: nobody has this number", line)
				}
				if before, ok := home[i]; ok && before != fold && separated {
					t.Errorf("person %d is in the folds %d and %d", i, before, fold)
				}
				home[i] = fold
			}
			if p.j1 < 1 || p.j2 < 1 || max(p.j1, p.j2) > o.PerIdentity {
				t.Errorf("%q: no such picture", line)
			}
		}
	}
}

func parsePair(line string, same bool) (p pair, err error) {
	if same {
		_, err = fmt.Sscanf(line, "id_%d\t%d\t%d", &p.i1, &p.j1, &p.j2)
		p.i2 = p.i1
		return p, err
	}
	_, err = fmt.Sscanf(line, "id_%d\t%d\tid_%d\t%d", &p.i1, &p.j1, &p.i2, &p.j2)
	return p, err
}
