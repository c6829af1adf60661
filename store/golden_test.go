package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// goldenV1 is a dataset of format version 1, which every later program must read.
const goldenV1 = "testdata/golden-v1/faces.ds"

// buildGolden writes the golden dataset: three shards (the last without rows), two
// sources, rejects, duplicates, a conflict, and two teachers, one of them incomplete.
func buildGolden(t *testing.T, dir string) {
	t.Helper()
	w := mustWriter(t, dir, 8)
	ingest(t, w, testSource, 0, 14)
	other := w.AddSource(SourceInfo{
		Kind: "folder", Path: "other", Detector: "test detector 256",
		DetectorDigest: fmt.Sprintf("%x", sha256.Sum256([]byte("detector"))),
	})
	taken := testCrop(other, 40)
	taken.Key = testCrop(0, 3).Key
	if _, err := w.Append(taken); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	w = mustWriter(t, dir, 8)
	if err := w.Reject(Reject{Source: other, Key: "Ünïcode/名前.webp", Stage: "read", Reason: `a "quoted" reason`}); err != nil {
		t.Fatal(err)
	}
	mustClose(t, w)
	d := mustOpen(t, dir)
	embed(t, d, testTeacher(FP16, true), -1, func(row int, e []float32) {
		if row == 2 {
			clear(e)
		}
	})
	full := testTeacher(FP32, false)
	full.Name = "incomplete"
	embed(t, d, full, 1, nil)
}

// describe tells everything that reading a dataset gives.
func describe(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	d := mustOpen(t, dir)
	fmt.Fprintf(&b, "digest %s\ncontract %+v\n", d.Digest(), d.Contract())
	for i, s := range d.Sources() {
		fmt.Fprintf(&b, "source %d %s\n", i, describeSource(s))
	}
	fmt.Fprintf(&b, "%d rows, %d shards, %d identities, %d duplicates, %d rejects\n",
		d.Rows(), d.Shards(), d.Identities(), d.Duplicates(), d.Rejects())
	for i := range d.Shards() {
		s, err := d.CropShard(i)
		if err != nil {
			t.Fatal(err)
		}
		for k := range s.Rows() {
			c, err := s.Crop(k)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(c.Image)
			c.Image = sum[:4]
			fmt.Fprintf(&b, "crop %d/%d %+v\n", i, k, c)
		}
		mustClose(t, s)
	}
	for _, key := range []string{"twins/0007.png", "person_00/0003.png"} {
		l, err := d.Lookup(key)
		fmt.Fprintf(&b, "key %s at %+v, %v\n", key, l, err)
	}
	names, err := d.Teachers()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		describeTeacher(t, &b, mustTeacher(t, d, name))
	}
	return b.Bytes()
}

// describeSource tells what version 1 had in the words it was told in then, and what was
// added later only where there is any.
func describeSource(s SourceInfo) string {
	text := fmt.Sprintf("%+v", struct{ Kind, Path, Digest, Detector, DetectorDigest, Landmarks string }{
		s.Kind, s.Path, s.Digest, s.Detector, s.DetectorDigest, s.Landmarks,
	})
	if s.MergedFrom != "" {
		text += " merged from " + s.MergedFrom
	}
	return text
}

func describeTeacher(t *testing.T, b *bytes.Buffer, teacher *Teacher) {
	t.Helper()
	info := teacher.Info()
	sum, err := teacher.Digest()
	fmt.Fprintf(b, "teacher %s %s dim %d %s flip %t, %s, missing %v, invalid %d\n",
		info.Name, info.Fingerprint, info.Dim, info.DType, info.Flip, info.Preprocess, teacher.MissingShards(), teacher.Invalid())
	if err == nil {
		fmt.Fprintf(b, "digest %s\n", sum)
	}
	row := make([]float32, info.Dim)
	for i := range teacher.shards {
		s, err := teacher.Shard(i)
		if errors.Is(err, ErrNotFound) {
			fmt.Fprintf(b, "shard %d is missing\n", i)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(b, "shard %d has %d rows\n", i, s.Rows())
		for k := range s.Rows() {
			norm, valid, err := s.Row(k, info.Flip, row)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(b, "embedding %d/%d norm %g valid %t %v\n", i, k, norm, valid, row[:3])
		}
		mustClose(t, s)
	}
}

// A dataset of format version 1 reads as it always did, can be appended to, and has
// no damage.
func TestGoldenV1(t *testing.T) {
	if *update {
		if err := os.RemoveAll(goldenV1); err != nil {
			t.Fatal(err)
		}
		buildGolden(t, goldenV1)
		for _, derived := range []string{indexFolder, lockFile, indexLockFile, "teachers/r50/.lock", "teachers/incomplete/.lock"} {
			if err := os.RemoveAll(filepath.Join(goldenV1, derived)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Reading builds an index and appending changes the files: on a copy.
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(goldenV1)); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/golden-v1/contents.txt", describe(t, dir))
	cleanCheck(t, dir)
	w := mustWriter(t, dir, 8)
	if n := ingest(t, w, testSource, 0, 20); n[Stored] != 6 {
		t.Errorf("appended %v", n)
	}
	mustClose(t, w)
	embed(t, mustOpen(t, dir), testTeacher(FP16, true), -1, nil)
	cleanCheck(t, dir)
}

// What is written today is version 1 to the byte. If this fails after a change that is
// meant, an older program must still be able to read the new files, or the version
// must rise; then -update.
func TestGoldenV1IsWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	buildGolden(t, dir)
	sameContents(t, dir, goldenV1)
}
