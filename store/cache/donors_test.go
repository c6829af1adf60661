package cache_test

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// copyFrom embeds what donors have of a dataset's crops, all of every shard or nothing.
func copyFrom(t testing.TB, d *store.Dataset, info cache.Info, s *cache.Donors) (shards int, err error) {
	t.Helper()
	w, err := cache.Create(d, info)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, w)
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

func copyShard(t testing.TB, d *store.Dataset, w *cache.Writer, i int, s *cache.Donors) (bool, error) {
	t.Helper()
	crops, err := d.CropShard(i)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, crops)
	e, err := w.Shard(i)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Abort(t, e)
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
	info := storetest.Info(cache.FP16, true)
	whole, dir := storetest.Build(t, 30, 8), storetest.Build(t, 30, 8)
	storetest.Embed(t, storetest.Open(t, whole), info, -1, storetest.SpoilSome)

	reversed := filepath.Join(t.TempDir(), "reversed")
	w := storetest.Writer(t, reversed, 5)
	source := w.AddSource(storetest.Source)
	for i := 23; i >= 0; i-- {
		if _, err := w.Append(storetest.Crop(source, i)); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Close(t, w)
	donor := info
	donor.Name = "another-name"
	d := storetest.Open(t, reversed)
	storetest.Embed(t, d, donor, -1, func(row int, e []float32) { storetest.SpoilSome(23-row, e) })

	to := storetest.Open(t, dir)
	s, err := cache.OpenDonors(to, info, []string{reversed, reversed})
	if err != nil {
		t.Fatal(err)
	}
	shards, err := copyFrom(t, to, info, s)
	if err != nil || shards != 3 {
		t.Errorf("%d shards, %v", shards, err)
	}
	if r := s.Report(); len(r) != 1 || r[0] != (cache.Donor{Dataset: reversed, Teacher: "another-name", Copied: 24}) || len(s.Notes()) > 0 {
		t.Errorf("report %+v, notes %q", r, s.Notes())
	}
	storetest.Close(t, s)
	storetest.Embed(t, to, info, -1, storetest.SpoilSome)
	storetest.SameContents(t, dir, whole)
	storetest.CleanCheck(t, dir)
}

func TestDonorsRefuse(t *testing.T) {
	info := storetest.Info(cache.FP16, true)
	dir := storetest.Build(t, 16, 8)
	other := info
	other.Fingerprint = "fp-other"
	donorOf := func(cached cache.Info) string {
		donor := storetest.Build(t, 16, 8)
		storetest.Embed(t, storetest.Open(t, donor), cached, -1, nil)
		return donor
	}
	half := donorOf(info)
	to := storetest.Open(t, dir)
	for name, c := range map[string]struct {
		donor string
		want  error
		say   string
	}{
		"another fingerprint": {donorOf(other), store.ErrFingerprint, "fp-other"},
		"no dataset":          {t.TempDir(), store.ErrNotFound, "no dataset.json"},
	} {
		if _, err := cache.OpenDonors(to, info, []string{half, c.donor}); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) || !strings.Contains(err.Error(), c.donor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Under another name it is nobody's fault.
	other.Name = "other"
	s, err := cache.OpenDonors(to, info, []string{donorOf(other)})
	if err != nil || len(s.Notes()) != 1 || len(s.Report()) != 0 {
		t.Fatalf("another name: %v, notes %q", err, s.Notes())
	}
	storetest.Close(t, s)
	// A fingerprint that lies is found out by what else is known.
	lie := info
	lie.DType = cache.FP32
	if _, err := cache.OpenDonors(to, info, []string{donorOf(lie)}); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("one fingerprint, two types: %v", err)
	}
	// Donors of one fingerprint give nothing to a cache of another.
	s, err = cache.OpenDonors(to, info, []string{half})
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, s)
	other.Name = "r50"
	if _, err := copyFrom(t, to, other, s); !errors.Is(err, store.ErrFingerprint) {
		t.Errorf("into another fingerprint: %v", err)
	}
}

// Damage of a donor is found when it is copied from, names the donor's file and stores
// nothing.
func TestDonorsDamaged(t *testing.T) {
	info := storetest.Info(cache.FP16, true)
	for name, hurt := range map[string]func(t *testing.T, donor string) string{
		"bit": func(t *testing.T, donor string) string {
			path := filepath.Join(donor, "teachers", "r50", table.ArrowName(1))
			stat, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			storetest.FlipBit(t, path, int(stat.Size()/2))
			return path
		},
		"embeddings of other crops": func(t *testing.T, donor string) string {
			// The index leads to a row whose embedding is another crop's: that of a
			// shard that was swapped, with all checksums in order.
			d := storetest.Open(t, donor)
			path := filepath.Join(donor, "teachers", "r50")
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			storetest.Embed(t, d, info, 1, nil)
			storetest.EditSealed(t, filepath.Join(path, table.ManifestName(0)), table.FormatEmbeddings, func(m *cache.Manifest) {
				m.Shard, m.Crops = 1, d.ShardDigest(1)
				sum, err := m.ContentDigest()
				if err != nil {
					t.Fatal(err)
				}
				m.Digest = hex.EncodeToString(sum[:])
			})
			for _, name := range []func(int) string{table.ManifestName, table.ArrowName} {
				if err := os.Rename(filepath.Join(path, name(0)), filepath.Join(path, name(1))); err != nil {
					t.Fatal(err)
				}
			}
			return filepath.Join(path, table.ArrowName(1))
		},
	} {
		donor, dir := storetest.Build(t, 16, 8), filepath.Join(t.TempDir(), "d")
		storetest.Embed(t, storetest.Open(t, donor), info, -1, nil)
		w := storetest.Writer(t, dir, 8)
		storetest.Ingest(t, w, storetest.Source, 8, 16)
		storetest.Close(t, w)
		path := hurt(t, donor)
		to := storetest.Open(t, dir)
		s, err := cache.OpenDonors(to, info, []string{donor})
		if err != nil {
			t.Fatal(err)
		}
		_, err = copyFrom(t, to, info, s)
		if !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		storetest.Close(t, s)
		if missing := storetest.Cache(t, to, "r50").MissingShards(); len(missing) != 1 {
			t.Errorf("%s: missing %v", name, missing)
		}
	}
}
