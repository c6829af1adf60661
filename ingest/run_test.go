package ingest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/ingest"
	"facepipe/ingest/align"
	"facepipe/ingest/detect/detecttest"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

func TestRunDetectsAndAligns(t *testing.T) {
	ann, bob := photo(1, 200, 180, 80, 72), photo(2, 300, 260, 120, 104)
	root := folder(t, map[string][]byte{
		"Ann/1.png":      imgcodec.EncodePNG(ann),
		"Bob/x.jpeg":     asJPEG(t, bob),
		"Bob/sub/1.png":  imgcodec.EncodePNG(photo(3, 140, 140, 64, 64)),
		"stranger.png":   imgcodec.EncodePNG(photo(4, 140, 140, 64, 56)),
		"Bob/nobody.png": imgcodec.EncodePNG(textured(5, 150, 150)),
	})
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: detector(t)})
	if s.Seen != 5 || s.Written != 4 || s.Rejected != 1 || s.Rows != 4 || s.Identities != 3 || s.Skipped != 0 {
		t.Errorf("summary %+v", s)
	}
	if want := map[string]int{"detect: no face found": 1}; !reflect.DeepEqual(s.RejectReasons, want) {
		t.Errorf("reject reasons %v, want %v", s.RejectReasons, want)
	}
	got := crops(t, out)
	for key, want := range map[string]struct {
		identity string
		label    int32
		x, y     int
	}{
		"Ann/1.png":     {"Ann", 0, 80, 72},
		"Bob/sub/1.png": {"Bob/sub", 1, 64, 64},
		"Bob/x.jpeg":    {"Bob", 2, 120, 104},
		"stranger.png":  {"", store.NoLabel, 64, 56},
	} {
		c, ok := got[key]
		if !ok {
			t.Errorf("%s is missing", key)
			continue
		}
		if c.Identity != want.identity || c.Label != want.label || !c.HasLandmarks || c.Score < 0.9 || c.Encoding != imgcodec.PNG {
			t.Errorf("%s: %+v", key, c)
		}
		for i, p := range detecttest.Landmarks(want.x, want.y) {
			// JPEG noise decides which of the square's four cells scores best.
			tolerance := 0.01
			if key == "Bob/x.jpeg" {
				tolerance = 8.01
			}
			if math.Abs(float64(c.Landmarks[2*i])-p.X) > tolerance || math.Abs(float64(c.Landmarks[2*i+1])-p.Y) > tolerance {
				t.Errorf("%s: landmarks %v", key, c.Landmarks)
				break
			}
		}
	}
	aligned, err := align.Crop(ann, detecttest.Landmarks(80, 72), 112)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pixels(t, got["Ann/1.png"]), aligned.Pix) {
		t.Error("the stored crop is not the aligned face")
	}
}

func TestRunPassesAlignedCropsThrough(t *testing.T) {
	crop := func(seed uint64) *imgcodec.Image { return photo(seed, 112, 112, 8, 40) }
	turned := crop(5)
	files := map[string][]byte{
		"a/jpeg.jpg":    asJPEG(t, crop(1)),
		"a/png.png":     imgcodec.EncodePNG(crop(2)),
		"b/bmp.bmp":     asBMP(t, crop(3)),
		"b/named.gif":   imgcodec.EncodePNG(crop(4)),
		"b/rotated.png": withOrientation(imgcodec.EncodePNG(turned), 3),
		"b/other.png":   imgcodec.EncodePNG(photo(6, 113, 112, 8, 8)),
	}
	root := folder(t, files)
	for _, mode := range []string{ingest.StoreEncoded, ingest.StoreRaw} {
		out := filepath.Join(t.TempDir(), "faces.ds")
		s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Store: mode})
		if s.Written != 5 || s.Rejected != 1 || s.RejectReasons["align: not an aligned crop"] != 1 {
			t.Errorf("%s: summary %+v", mode, s)
		}
		got := crops(t, out)
		for key, file := range files {
			if key == "b/other.png" {
				continue
			}
			want, _, err := imgcodec.Decode(file, imgcodec.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			c := got[key]
			if !bytes.Equal(pixels(t, c), want.Pix) {
				t.Errorf("%s %s: pixels changed", mode, key)
			}
			if c.HasLandmarks {
				t.Errorf("%s %s: has landmarks", mode, key)
			}
			untouched := mode == ingest.StoreEncoded && (key[0] == 'a' || key == "b/named.gif")
			if bytes.Equal(c.Image, file) != untouched {
				t.Errorf("%s %s: original bytes kept is %v, want %v", mode, key, !untouched, untouched)
			}
		}
	}
}

// badFiles are inputs that must be refused, each with the reason that is counted.
func badFiles(t *testing.T) map[string]struct {
	data   []byte
	reason string
} {
	png, jpg := imgcodec.EncodePNG(photo(1, 140, 140, 64, 64)), asJPEG(t, photo(1, 140, 140, 64, 64))
	type bad = struct {
		data   []byte
		reason string
	}
	return map[string]bad{
		"empty.jpg":        {nil, "decode: file is empty"},
		"text.jpg":         {[]byte("<html>404</html>"), "decode: not an image"},
		"truncated.jpg":    {jpg[:len(jpg)/2], "decode: truncated image"},
		"cut.png":          {png[:len(png)/2], "decode: truncated image"},
		"flipped.png":      {append(append(append([]byte{}, png[:200]...), png[200]^0xff), png[201:]...), "decode: corrupt image"},
		"huge.png":         {declaring(png, 60000, 60000), "decode: image too large"},
		"animated.png":     {withChunk(png, "acTL", make([]byte, 8)), "decode: animated image"},
		"animated.gif":     {[]byte("GIF89a\x01\x00\x01\x00\x80\x00\x00!\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00"), "decode: animated image"},
		"photo.heic":       {[]byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00"), "decode: unsupported image"},
		"nobody.png":       {imgcodec.EncodePNG(textured(2, 140, 140)), "detect: no face found"},
		"one pixel.png":    {imgcodec.EncodePNG(imgcodec.NewImage(1, 1)), "detect: no face found"},
		"one row.png":      {imgcodec.EncodePNG(imgcodec.NewImage(5000, 1)), "detect: no face found"},
		"Zed/nobody 2.png": {imgcodec.EncodePNG(textured(3, 112, 112)), "detect: no face found"},
	}
}

func TestRunRecordsBadInputs(t *testing.T) {
	bad := badFiles(t)
	files := map[string][]byte{"Ann/good.png": imgcodec.EncodePNG(photo(9, 140, 140, 64, 64))}
	want := map[string]int{}
	for name, b := range bad {
		files[name] = b.data
		want[b.reason]++
	}
	root := folder(t, files)
	if err := os.Symlink(root, filepath.Join(root, "Ann", "loop")); err != nil {
		t.Fatal(err)
	}
	want["read: unreadable"]++
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: detector(t)})
	if s.Written != 1 || s.Rejected != len(bad)+1 || !reflect.DeepEqual(s.RejectReasons, want) {
		t.Errorf("summary %+v, want reasons %v", s, want)
	}
	recorded := rejects(t, out)
	for name := range bad {
		if r, ok := recorded[name]; !ok || r.Reason == "" || r.Stage == "" {
			t.Errorf("%s is recorded as %+v", name, r)
		}
	}
	if r := recorded["Ann/loop/"]; !strings.Contains(r.Reason, "symbolic link") {
		t.Errorf("the loop is recorded as %+v", r)
	}
}

// rejects reads rejects.jsonl, by key.
func rejects(t *testing.T, dir string) map[string]store.Reject {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "rejects.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]store.Reject{}
	for line := range strings.Lines(string(data)) {
		var r store.Reject
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		out[r.Key] = r
	}
	return out
}

// faces is a folder of n photographs of several sizes, some bad.
func faces(t testing.TB, n int) string {
	t.Helper()
	files := map[string][]byte{}
	for i := range n {
		name := fmt.Sprintf("%c/%03d.png", 'A'+i%5, i)
		switch {
		case i%11 == 7:
			files[name] = []byte("no image")
		case i%13 == 5:
			files[name] = files["A/000.png"] // a duplicate
		default:
			side := 112 + 20*(i%4)
			files[name] = imgcodec.EncodePNG(photo(uint64(i), side, side, 48+8*(i%3), 56))
		}
	}
	return folder(t, files)
}

// tree reads all files of a dataset but its index and lock.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			if rel == "index" {
				return filepath.SkipDir
			}
			return nil
		}
		data, err := os.ReadFile(path)
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func sameTree(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	names := slices.Sorted(maps.Keys(want))
	if gotNames := slices.Sorted(maps.Keys(got)); !slices.Equal(gotNames, names) {
		t.Fatalf("%s: files %v, want %v", what, gotNames, names)
	}
	for _, name := range names {
		if got[name] != want[name] {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

func TestRunDoesNotDependOnWorkers(t *testing.T) {
	root, model := faces(t, 40), detector(t)
	var first map[string]string
	for _, workers := range []int{1, 2, 7} {
		out := filepath.Join(t.TempDir(), "faces.ds")
		s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: model, Workers: workers, ShardRows: 7})
		if s.Duplicates == 0 || s.Rejected == 0 || s.Shards < 4 || s.Written+s.Duplicates+s.Rejected != 40 {
			t.Fatalf("summary %+v", s)
		}
		if first == nil {
			first = tree(t, out)
			continue
		}
		sameTree(t, fmt.Sprintf("%d workers", workers), tree(t, out), first)
	}
}

func TestRunAgainChangesNothing(t *testing.T) {
	root, out := faces(t, 40), filepath.Join(t.TempDir(), "faces.ds")
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: out, Detector: detector(t), ShardRows: 16}
	first := mustRun(t, o)
	before := tree(t, out)
	// Nothing of what was ingested is read again.
	for name := range crops(t, out) {
		if err := os.WriteFile(filepath.Join(root, name), []byte("changed"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "A", "000.png"), imgcodec.EncodePNG(imgcodec.NewImage(1, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	again := mustRun(t, o)
	if again.Skipped != 40 || again.Seen != 40 || again.Written != 0 || again.Rejected != 0 || again.Digest != first.Digest || again.Rows != first.Rows {
		t.Errorf("first %+v, again %+v", first, again)
	}
	sameTree(t, "second run", tree(t, out), before)
}

func TestRunAfterAnInterruption(t *testing.T) {
	root, model := faces(t, 40), detector(t)
	o := ingest.Options{Sources: []string{"folder=" + root}, Detector: model, ShardRows: 4, MaxRejectRate: 1, Workers: 3}
	o.Out = filepath.Join(t.TempDir(), "whole.ds")
	mustRun(t, o)
	want := tree(t, o.Out)

	o.Out = filepath.Join(t.TempDir(), "interrupted.ds")
	interruptions := 0
	for delay := time.Millisecond; ; delay += delay/2 + 1 {
		ctx, cancel := context.WithTimeout(t.Context(), delay)
		_, err := ingest.Run(ctx, o)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		interruptions++
	}
	t.Logf("interrupted %d times", interruptions)
	sameTree(t, "after interruptions", tree(t, o.Out), want)
}

func TestRunAppends(t *testing.T) {
	out := filepath.Join(t.TempDir(), "faces.ds")
	one := folder(t, map[string][]byte{"Ann/1.png": imgcodec.EncodePNG(photo(1, 112, 112, 8, 8)), "Ann/2.png": imgcodec.EncodePNG(photo(2, 112, 112, 8, 8))})
	two := folder(t, map[string][]byte{
		"Ann/1.png": imgcodec.EncodePNG(photo(3, 112, 112, 8, 8)), // the key, other pixels
		"Ann/2.png": imgcodec.EncodePNG(photo(2, 112, 112, 8, 8)), // the same once more
		"Bob/1.png": imgcodec.EncodePNG(photo(4, 112, 112, 8, 8)),
	})
	first := mustRun(t, ingest.Options{Sources: []string{"folder=" + one}, Out: out})
	second := mustRun(t, ingest.Options{Sources: []string{"folder=" + two}, Out: out})
	if first.Written != 2 || second.Written != 1 || second.Duplicates != 1 || second.Rejected != 1 || second.Rows != 3 || second.Identities != 2 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if second.RejectReasons["store: key taken by another source"] != 1 {
		t.Errorf("reasons %v", second.RejectReasons)
	}
	third := mustRun(t, ingest.Options{Sources: []string{"folder=" + two}, Out: out, KeyPrefixes: []string{"two/"}})
	if third.Written != 1 || third.Duplicates != 2 || third.Rejected != 0 {
		t.Errorf("with a prefix: %+v", third)
	}
	if c := crops(t, out)["two/Ann/1.png"]; c.Identity != "two/Ann" || c.Label != 2 {
		t.Errorf("with a prefix: %+v", c)
	}
	both := filepath.Join(t.TempDir(), "both.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + one, "folder=" + two, "folder=" + one}, Out: both})
	if s.Seen != 7 || s.Written != 3 || s.Duplicates != 1 || s.Rejected != 1 || s.Skipped != 2 {
		t.Errorf("several sources in one run: %+v", s)
	}
}

func TestRunRecordsKeysThatAreTooLong(t *testing.T) {
	prefix := strings.Repeat("p", store.MaxKeyBytes-10)
	root := folder(t, map[string][]byte{
		"short.png":     imgcodec.EncodePNG(photo(1, 112, 112, 8, 8)),
		"longer/1.png":  imgcodec.EncodePNG(photo(2, 112, 112, 8, 8)),
		"longer/22.png": imgcodec.EncodePNG(photo(3, 112, 112, 8, 8)),
	})
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), KeyPrefixes: []string{prefix}}
	s := mustRun(t, o)
	if s.Written != 1 || s.Rejected != 2 || s.RejectReasons["read: cannot be stored"] != 2 {
		t.Errorf("summary %+v", s)
	}
	if n := len(rejects(t, o.Out)); n != 2 {
		t.Errorf("%d rejects are recorded", n)
	}
	if again := mustRun(t, o); again.Skipped != 3 {
		t.Errorf("again: %+v", again)
	}
}

func TestRunWithLandmarks(t *testing.T) {
	ann, bob := photo(1, 200, 200, 80, 72), photo(2, 200, 200, 96, 104)
	root := folder(t, map[string][]byte{
		"Ann/1.png": imgcodec.EncodePNG(ann),
		"Bob/1.png": imgcodec.EncodePNG(bob),
		"Cid/1.png": imgcodec.EncodePNG(photo(3, 200, 200, 8, 8)),
		"Dan/1.png": imgcodec.EncodePNG(photo(4, 200, 200, 8, 8)),
	})
	where := detecttest.Landmarks(80, 72)
	line := "p/Ann/1.png"
	for _, p := range where {
		line += fmt.Sprintf(" %g %g", p.X, p.Y)
	}
	list := filepath.Join(t.TempDir(), "landmarks.txt")
	text := line + " 0.75\np/Cid/1.png 5 5 5 5 5 5 5 5 5 5\n" +
		"p/Dan/1.png 938 1046 1162 1046 1050 1110 960 1170 1140 1170\n"
	if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"), Landmarks: list, KeyPrefixes: []string{"p/"}}
	s := mustRun(t, o)
	want := map[string]int{"detect: no landmarks": 1, "align: degenerate landmarks": 1, "align: landmarks outside the photograph": 1}
	if s.Written != 1 || !reflect.DeepEqual(s.RejectReasons, want) {
		t.Errorf("summary %+v", s)
	}
	c := crops(t, o.Out)["p/Ann/1.png"]
	aligned, err := align.Crop(ann, where, 112)
	if err != nil {
		t.Fatal(err)
	}
	if c.Score != 0.75 || !c.HasLandmarks || !bytes.Equal(pixels(t, c), aligned.Pix) {
		t.Errorf("crop %+v", c)
	}

	o.Out, o.Detector = filepath.Join(t.TempDir(), "both.ds"), detector(t)
	s = mustRun(t, o)
	if s.Written != 2 || s.RejectReasons["align: degenerate landmarks"] != 1 {
		t.Errorf("with a detector for the rest: %+v", s)
	}
}

// A landmark file that names nothing of the source ends the run, and leaves no rejects behind
// that a corrected file would meet.
func TestRunWithForeignLandmarks(t *testing.T) {
	root := folder(t, map[string][]byte{"Ann/1.png": imgcodec.EncodePNG(photo(1, 200, 200, 80, 72))})
	row := ""
	for _, p := range detecttest.Landmarks(80, 72) {
		row += fmt.Sprintf(" %g %g", p.X, p.Y)
	}
	o := ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(t.TempDir(), "faces.ds"),
		Landmarks: file(t, "landmarks.txt", "photos/Ann/1.png"+row+"\nphotos/Bob/1.png"+row+"\n")}
	_, err := ingest.Run(t.Context(), o)
	for _, want := range []string{o.Landmarks, "0 of 2 lines", `"photos/Ann/1.png"`, `"Ann/1.png"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := ingest.MakePlan(t.Context(), o, filepath.Join(t.TempDir(), "job"), 1); err == nil || !strings.Contains(err.Error(), "0 of 2 lines") {
		t.Errorf("a plan: %v", err)
	}
	o.Landmarks = file(t, "landmarks.txt", "./Ann/1.png"+row+"\n")
	if s := mustRun(t, o); s.Written != 1 || s.Rejected != 0 || s.Skipped != 0 {
		t.Errorf("with a right file: %+v", s)
	}
}

// Landmarks in a table or a text are checked one by one, too: few rows do not tell an order.
func TestRunRefusesSwappedLandmarks(t *testing.T) {
	root := folder(t, map[string][]byte{"a.png": imgcodec.EncodePNG(photo(1, 200, 200, 80, 72)), "b.png": imgcodec.EncodePNG(photo(2, 200, 200, 80, 72)), "c.png": imgcodec.EncodePNG(photo(3, 200, 200, 80, 72))})
	row := func(order ...int) string {
		text := ""
		for _, i := range order {
			p := detecttest.Landmarks(80, 72)[i]
			text += fmt.Sprintf(" %g %g", p.X, p.Y)
		}
		return text
	}
	right, mouth := row(0, 1, 2, 3, 4), row(0, 1, 2, 4, 3)
	list := filepath.Join(root, "faces.csv")
	if err := os.WriteFile(list, []byte("path,landmarks\na.png,"+right+"\nb.png,"+right+"\nc.png,"+mouth+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, o := range []ingest.Options{
		{Sources: []string{"manifest=" + list}},
		{Sources: []string{"folder=" + root}, Landmarks: file(t, "l.txt", "a.png"+mouth+"\nb.png"+right+"\nc.png"+right+"\n")},
	} {
		o.Out, o.MaxRejectRate = filepath.Join(t.TempDir(), "faces.ds"), 1
		if s := mustRun(t, o); s.Written != 2 || s.RejectReasons["align: degenerate landmarks"] != 1 {
			t.Errorf("summary %+v", s)
		}
	}
}

func TestRunCountsTheRejectRate(t *testing.T) {
	root := folder(t, map[string][]byte{
		"a.png": imgcodec.EncodePNG(photo(1, 112, 112, 8, 8)), "b.png": imgcodec.EncodePNG(photo(2, 112, 112, 8, 8)),
		"c.png": imgcodec.EncodePNG(photo(3, 112, 112, 8, 8)), "d.png": []byte("broken"),
	})
	for _, tt := range []struct {
		allowed float64
		exceeds bool
	}{{0.25, false}, {0.2, true}} {
		out := filepath.Join(t.TempDir(), "faces.ds")
		s, err := run(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, MaxRejectRate: tt.allowed})
		var rate *ingest.RejectRateError
		if errors.As(err, &rate) != tt.exceeds || (err != nil) != tt.exceeds {
			t.Fatalf("at %v: error %v", tt.allowed, err)
		}
		if tt.exceeds && (rate.Rejected != 1 || rate.Seen != 4 || rate.Max != tt.allowed) {
			t.Errorf("error %+v", rate)
		}
		if s.Written != 3 || len(crops(t, out)) != 3 {
			t.Errorf("at %v the dataset is not complete: %+v", tt.allowed, s)
		}
		// A run that finds all done comes to the same verdict.
		s, err = run(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, MaxRejectRate: tt.allowed})
		if errors.As(err, &rate) != tt.exceeds || s.Skipped != 4 || s.Rejected != 0 || s.RejectedBefore != 1 {
			t.Errorf("again at %v: %+v, %v", tt.allowed, s, err)
		}
	}
}

func TestRunRefusals(t *testing.T) {
	root := folder(t, map[string][]byte{"a.png": imgcodec.EncodePNG(photo(1, 112, 112, 8, 8))})
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x y z\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		o    ingest.Options
		want string
	}{
		{"no source", ingest.Options{Out: "x"}, "no source"},
		{"unknown kind", ingest.Options{Sources: []string{"album=" + root}}, "known: bin, folder"},
		{"missing folder", ingest.Options{Sources: []string{"folder=" + dir + "/none"}}, dir + "/none"},
		{"folder without images", ingest.Options{Sources: []string{"folder=" + dir}}, "no image"},
		{"unknown detector", ingest.Options{Sources: []string{"folder=" + root}, Detector: "eyes=x"}, "scrfd=FILE"},
		{"missing detector", ingest.Options{Sources: []string{"folder=" + root}, Detector: "scrfd=" + dir + "/none.onnx"}, dir + "/none.onnx"},
		{"detector that is no model", ingest.Options{Sources: []string{"folder=" + root}, Detector: "yunet=" + file}, file},
		{"missing landmarks", ingest.Options{Sources: []string{"folder=" + root}, Landmarks: dir + "/none.txt"}, dir + "/none.txt"},
		{"broken landmarks", ingest.Options{Sources: []string{"folder=" + root}, Landmarks: file}, "line 1"},
		{"unknown store", ingest.Options{Sources: []string{"folder=" + root}, Store: "jpeg"}, "encoded or raw"},
		{"unknown decoder", ingest.Options{Sources: []string{"folder=" + root}, Decoder: "fast"}, "fast"},
		{"reject rate", ingest.Options{Sources: []string{"folder=" + root}, MaxRejectRate: 5}, "0..1"},
		{"score", ingest.Options{Sources: []string{"folder=" + root}, MinScore: -1}, "0..1"},
		{"crop size", ingest.Options{Sources: []string{"folder=" + root}, CropSize: 8}, "32..1024"},
		{"workers", ingest.Options{Sources: []string{"folder=" + root}, Workers: -1}, "negative"},
		{"prefix", ingest.Options{Sources: []string{"folder=" + root}, KeyPrefixes: []string{"\xff"}}, "UTF-8"},
	}
	for _, tt := range tests {
		out := filepath.Join(t.TempDir(), "faces.ds")
		tt.o.Out = out
		_, err := run(t, tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that says %q", tt.name, err, tt.want)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the dataset was begun", tt.name)
		}
	}
	if _, err := run(t, ingest.Options{Sources: []string{"folder=" + root}}); err == nil || !strings.Contains(err.Error(), "no dataset") {
		t.Errorf("no output: error %v", err)
	}
}

func TestRunKeepsTheContract(t *testing.T) {
	if err := imgcodec.Use(imgcodec.Turbo); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := imgcodec.Use(imgcodec.Auto); err != nil {
			t.Error(err)
		}
	})
	root := folder(t, map[string][]byte{"a.jpg": asJPEG(t, photo(1, 112, 112, 8, 8)), "b.jpg": asJPEG(t, photo(2, 112, 112, 8, 8))})
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Decoder: "std"})
	if !strings.Contains(s.Decoder, "image/jpeg") {
		t.Errorf("decoder %q", s.Decoder)
	}
	if _, err := run(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out, Decoder: "turbo"}); !errors.Is(err, store.ErrContract) {
		t.Errorf("another decoder: error %v, want ErrContract", err)
	}
}

func TestRunRefusesASecondWriter(t *testing.T) {
	root := folder(t, map[string][]byte{"a.png": imgcodec.EncodePNG(photo(1, 112, 112, 8, 8))})
	out := filepath.Join(t.TempDir(), "faces.ds")
	s := mustRun(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out})
	w, err := store.OpenWriter(out, store.Contract{CropSize: 112, Template: align.TemplateName, Warp: align.WarpName, Decoder: s.Decoder}, store.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := run(t, ingest.Options{Sources: []string{"folder=" + root}, Out: out}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("error %v, want ErrLocked", err)
	}
}

func BenchmarkRun(b *testing.B) {
	root, model := faces(b, 100), detector(b)
	images := 0
	for b.Loop() {
		images += mustRun(b, ingest.Options{Sources: []string{"folder=" + root}, Out: filepath.Join(b.TempDir(), "faces.ds"), Detector: model}).Seen
	}
	b.ReportMetric(float64(images)/b.Elapsed().Seconds(), "images/s")
}
