package store

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyFrom embeds what donors have of a dataset's crops, all of every shard or nothing.
func copyFrom(t testing.TB, d *Dataset, info TeacherInfo, s *Donors) (shards int, err error) {
	t.Helper()
	w, err := d.CreateTeacher(info)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, w)
	for _, i := range w.MissingShards() {
		done, err := copyShard(t, d, w, i, s)
		if err != nil {
			return shards, err
		}
		if done {
			shards++
		}
	}
	return shards, nil
}

func copyShard(t testing.TB, d *Dataset, w *TeacherWriter, i int, s *Donors) (bool, error) {
	t.Helper()
	crops, err := d.CropShard(i)
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, crops)
	e, err := w.Shard(i)
	if err != nil {
		t.Fatal(err)
	}
	defer mustAbort(t, e)
	for k := range crops.Rows() {
		c, err := crops.Head(k)
		if err != nil {
			t.Fatal(err)
		}
		at, found, err := s.Find(c.ID)
		if err != nil || !found {
			return false, err
		}
		if err := e.Copy(s, at); err != nil {
			return false, err
		}
	}
	return true, e.Commit()
}

// Rows of a shard may come from anywhere, and are what embedding them gives.
func TestDonors(t *testing.T) {
	info := testTeacher(FP16, true)
	whole, dir := buildDataset(t, 30, 8), buildDataset(t, 30, 8)
	embed(t, mustOpen(t, whole), info, -1, spoilSome)

	reversed := filepath.Join(t.TempDir(), "reversed")
	w := mustWriter(t, reversed, 5)
	source := w.AddSource(testSource)
	for i := 23; i >= 0; i-- {
		if _, err := w.Append(testCrop(source, i)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, w)
	donor := info
	donor.Name = "another-name"
	d := mustOpen(t, reversed)
	embed(t, d, donor, -1, func(row int, e []float32) { spoilSome(23-row, e) })

	to := mustOpen(t, dir)
	s, err := to.OpenDonors(info, []string{reversed, reversed})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := copyFrom(t, to, info, s)
	if err != nil || shards != 3 {
		t.Errorf("%d shards, %v", shards, err)
	}
	if r := s.Report(); len(r) != 1 || r[0] != (Donor{reversed, "another-name", 24}) || len(s.Notes()) > 0 {
		t.Errorf("report %+v, notes %q", r, s.Notes())
	}
	mustClose(t, s)
	embed(t, to, info, -1, spoilSome)
	sameContents(t, dir, whole)
	cleanCheck(t, dir)
}

func TestDonorsRefuse(t *testing.T) {
	info := testTeacher(FP16, true)
	dir := buildDataset(t, 16, 8)
	other := info
	other.Fingerprint = "fp-other"
	donorOf := func(cached TeacherInfo) string {
		donor := buildDataset(t, 16, 8)
		embed(t, mustOpen(t, donor), cached, -1, nil)
		return donor
	}
	half := donorOf(info)
	to := mustOpen(t, dir)
	for name, c := range map[string]struct {
		donor string
		want  error
		say   string
	}{
		"another fingerprint": {donorOf(other), ErrFingerprint, "fp-other"},
		"no dataset":          {t.TempDir(), ErrNotFound, "no dataset.json"},
	} {
		if _, err := to.OpenDonors(info, []string{half, c.donor}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), c.donor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Under another name it is nobody's fault.
	other.Name = "other"
	s, err := to.OpenDonors(info, []string{donorOf(other)})
	if err != nil || len(s.Notes()) != 1 || len(s.Report()) != 0 {
		t.Fatalf("another name: %v, notes %q", err, s.Notes())
	}
	mustClose(t, s)
	// A fingerprint that lies is found out by what else is known.
	lie := info
	lie.DType = FP32
	if _, err := to.OpenDonors(info, []string{donorOf(lie)}); !errors.Is(err, ErrFingerprint) {
		t.Errorf("one fingerprint, two types: %v", err)
	}
	// Donors of one fingerprint give nothing to a cache of another.
	s, err = to.OpenDonors(info, []string{half})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	other.Name = "r50"
	if _, err := copyFrom(t, to, other, s); !errors.Is(err, ErrFingerprint) {
		t.Errorf("into another fingerprint: %v", err)
	}
}

// Damage of a donor is found when it is copied from, names the donor's file and stores
// nothing.
func TestDonorsDamaged(t *testing.T) {
	info := testTeacher(FP16, true)
	for name, hurt := range map[string]func(t *testing.T, donor string) string{
		"bit": func(t *testing.T, donor string) string {
			path := filepath.Join(donor, teachersFolder, "r50", arrowName(1))
			stat, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			flipBit(t, path, int(stat.Size()/2))
			return path
		},
		"embeddings of other crops": func(t *testing.T, donor string) string {
			// The index leads to a row whose embedding is another crop's: that of a
			// shard that was swapped, with all checksums in order.
			d := mustOpen(t, donor)
			if err := os.RemoveAll(d.teacherFolder("r50")); err != nil {
				t.Fatal(err)
			}
			embed(t, d, info, 1, nil)
			path := d.teacherFolder("r50")
			m, err := readEmbeddingManifest(path, d, 0, info.Fingerprint)
			if err != nil {
				t.Fatal(err)
			}
			m.Shard, m.Crops = 1, d.ShardDigest(1)
			sum, err := m.contentDigest()
			if err != nil {
				t.Fatal(err)
			}
			m.Digest = hex.EncodeToString(sum[:])
			data, err := encodeSealed(m)
			if err == nil {
				err = os.WriteFile(filepath.Join(path, manifestName(1)), data, 0o444)
			}
			if err == nil {
				err = os.Rename(filepath.Join(path, arrowName(0)), filepath.Join(path, arrowName(1)))
			}
			if err == nil {
				err = os.Remove(filepath.Join(path, manifestName(0)))
			}
			if err != nil {
				t.Fatal(err)
			}
			return filepath.Join(path, arrowName(1))
		},
	} {
		donor, dir := buildDataset(t, 16, 8), filepath.Join(t.TempDir(), "d")
		embed(t, mustOpen(t, donor), info, -1, nil)
		w := mustWriter(t, dir, 8)
		ingest(t, w, testSource, 8, 16)
		mustClose(t, w)
		path := hurt(t, donor)
		to := mustOpen(t, dir)
		s, err := to.OpenDonors(info, []string{donor})
		if err != nil {
			t.Fatal(err)
		}
		_, err = copyFrom(t, to, info, s)
		if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		mustClose(t, s)
		if missing := mustTeacher(t, to, "r50").MissingShards(); len(missing) != 1 {
			t.Errorf("%s: missing %v", name, missing)
		}
	}
}
