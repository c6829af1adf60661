package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/store"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

func FuzzCropManifest(f *testing.F) {
	storetest.AddFiles(f, golden, "crops/000000.json", "crops/000001.json", "crops/000002.json", "dataset.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			var m store.CropManifest
			var err error
			alloctest.AtMost(t, storetest.AllocationOf(len(text)), func() {
				m = store.CropManifest{}
				err = table.DecodeSealed(text, table.FormatCrops, &m)
			})
			if err != nil || m.Validate(m.Shard) != nil {
				continue
			}
			if m.File != nil {
				storetest.InBounds(t, m.File)
			}
			again, err := table.EncodeSealed(&m)
			if err != nil {
				t.Fatal(err)
			}
			var back store.CropManifest
			if err := table.DecodeSealed(again, table.FormatCrops, &back); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}

// FuzzDataset opens a dataset whose dataset.json is the input.
func FuzzDataset(f *testing.F) {
	storetest.AddFiles(f, golden, "dataset.json", "crops/000000.json")
	dir := filepath.Join(f.TempDir(), "d")
	if err := os.CopyFS(dir, os.DirFS(goldenV1)); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, store.DatasetFile)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, storetest.Reseal(data)} {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			var d *store.Dataset
			var err error
			alloctest.AtMost(t, storetest.AllocationOf(len(text)), func() { d, err = store.Open(dir, store.WithLogger(storetest.Quiet)) })
			if err != nil {
				if !errors.Is(err, store.ErrDamaged) && !errors.Is(err, store.ErrVersion) {
					t.Fatalf("neither damaged nor of another version: %v", err)
				}
				continue
			}
			for row := range d.Rows() {
				if l := d.Locate(row); d.RowOf(l) != row || int(l.Row) >= d.ShardRows(int(l.Shard)) {
					t.Fatalf("row %d is at %+v", row, l)
				}
			}
		}
	})
}

// FuzzCropFile opens damaged crop shards, of both versions in turn, and reads all their
// rows.
func FuzzCropFile(f *testing.F) {
	var whole []storetest.Table[store.CropColumns]
	for _, dir := range golden {
		m, err := store.ReadCropManifest(filepath.Join(dir, store.CropsFolder), 0)
		if err != nil {
			f.Fatal(err)
		}
		schema, err := store.CropSchema(m.Contract, m.Version)
		if err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "crops/000000.arrow"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(len(whole) > 0, data)
		whole = append(whole, storetest.Table[store.CropColumns]{Data: data, Info: *m.File, Schema: schema, Parse: store.ParseCropColumns})
	}
	f.Fuzz(func(t *testing.T, second bool, data []byte) {
		of := whole[0]
		if second {
			of = whole[1]
		}
		crops := of.OpenMutated(t, data)
		for row := range of.Info.Rows() {
			if _, err := store.ReadCrop(crops, row); err != nil && !errors.Is(err, store.ErrDamaged) {
				t.Fatalf("row %d: %v", row, err)
			}
		}
	})
}
