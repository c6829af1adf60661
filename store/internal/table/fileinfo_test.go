package table

import (
	"math"
	"strings"
	"testing"
)

func TestFileInfoValidate(t *testing.T) {
	good := func() FileInfo {
		return FileInfo{Bytes: 100, SHA256: strings.Repeat("0", 64), Batch: []batchInfo{
			{Offset: 10, Bytes: 40, Rows: 3, PayloadBytes: 8}, {Offset: 50, Bytes: 30, Rows: 2},
		}}
	}
	if f := good(); f.Validate(5) != nil || f.Rows() != 5 {
		t.Fatal(f.Validate(5))
	}
	many := good()
	many.Batch[0].Rows = maxListedRows + 1
	if many.Validate(maxListedRows+3) == nil {
		t.Error("a batch of any number of rows is valid")
	}
	for name, spoil := range map[string]func(*FileInfo){
		"digest":           func(f *FileInfo) { f.SHA256 = "00" },
		"no batches":       func(f *FileInfo) { f.Batch = nil },
		"gap":              func(f *FileInfo) { f.Batch[1].Offset++ },
		"beyond the file":  func(f *FileInfo) { f.Batch[1].Bytes = 51 },
		"overflow":         func(f *FileInfo) { f.Batch[1].Bytes = math.MaxInt64 },
		"negative":         func(f *FileInfo) { f.Batch[0].Bytes = -40 },
		"offset 0":         func(f *FileInfo) { f.Batch = f.Batch[1:]; f.Batch[0].Offset = 0 },
		"payload too long": func(f *FileInfo) { f.Batch[0].PayloadBytes = 40 },
		"negative payload": func(f *FileInfo) { f.Batch[0].PayloadBytes = -1 },
		"rows":             func(f *FileInfo) { f.Batch[0].Rows++ },
		"too few rows":     func(f *FileInfo) { f.Batch[0].Rows-- },
		"no rows":          func(f *FileInfo) { f.Batch[0].Rows = 0 },
	} {
		f := good()
		spoil(&f)
		if f.Validate(5) == nil {
			t.Errorf("%s: valid", name)
		}
	}
}
