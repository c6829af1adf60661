package source_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/ingest"
	"facepipe/ingest/source"
	"facepipe/ingest/source/sourcetest"
	"facepipe/internal/durable"
	"facepipe/internal/recordio"
	"facepipe/internal/webdataset"
	"facepipe/store/export"
)

// The same faces come out of every kind of container.
func TestConformance(t *testing.T) {
	var tried []string
	for _, k := range []sourcetest.Kind{
		{Name: "folder", LayOut: layOutFolder},
		{Name: "recordio", LayOut: layOutRecordIO},
		{Name: "webdataset", LayOut: layOutWebDataset},
		{Name: "bin", LayOut: layOutBin, Nameless: true},
		{Name: "manifest", LayOut: layOutManifest},
	} {
		tried = append(tried, k.Name)
		t.Run(k.Name, func(t *testing.T) { sourcetest.Conform(t, k) })
	}
	slices.Sort(tried)
	if _, err := source.ParseSpec("none=x"); err == nil || !strings.HasSuffix(err.Error(), "known: "+strings.Join(tried, ", ")) {
		t.Errorf("%v, of which %v are tried", err, tried)
	}
}

func layOutFolder(t testing.TB, dir string, faces []sourcetest.Face) string {
	for _, f := range faces {
		writeFile(t, filepath.Join(dir, f.Person, f.File), f.Data)
	}
	return dir
}

func writeFile(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func layOutRecordIO(t testing.TB, dir string, faces []sourcetest.Face) string {
	w, err := recordio.NewWriter(dir, recordio.WriterOptions{
		Images: int64(len(faces)), Identities: sourcetest.People, Width: 112, Height: 112,
	})
	if err != nil {
		t.Fatal(err)
	}
	person := -1
	for _, f := range faces {
		if f.Number != person {
			if _, err := w.Begin(); err != nil {
				t.Fatal(err)
			}
			person = f.Number
		}
		if _, err := w.Add(f.Data, f.Person+"/"+f.File); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "train.rec")
}

func layOutWebDataset(t testing.TB, dir string, faces []sourcetest.Face) string {
	w, err := webdataset.NewWriter(70, func(number int) (webdataset.Output, error) {
		return durable.Create(filepath.Join(dir, fmt.Sprintf("train-%06d.tar", number)))
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range faces {
		err := w.Write(fmt.Sprintf("%06d", i),
			webdataset.File{Extension: filepath.Ext(f.File)[1:], Data: f.Data},
			webdataset.File{Extension: "cls", Data: fmt.Append(nil, f.Number)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "train-{000000..000002}.tar")
}

// layOutBin writes the pickle of (images, flags) in protocol 3.
func layOutBin(t testing.TB, dir string, faces []sourcetest.Face) string {
	var b bytes.Buffer
	b.WriteString("\x80\x03](") // protocol, a list
	for _, f := range faces {
		b.WriteByte('B')
		b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(f.Data))))
		b.Write(f.Data)
	}
	b.WriteString("e](") // the next list
	for i := 0; i < len(faces); i += 2 {
		b.WriteByte("\x89\x88"[bit(faces[i].Number == faces[i+1].Number)])
	}
	b.WriteString("e\x86.") // a tuple of both, the end
	path := filepath.Join(dir, "faces.bin")
	writeFile(t, path, b.Bytes())
	return path
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func layOutManifest(t testing.TB, dir string, faces []sourcetest.Face) string {
	var b bytes.Buffer
	for i, f := range faces {
		path := fmt.Sprintf("images/%03d%s", i, filepath.Ext(f.File))
		writeFile(t, filepath.Join(dir, path), f.Data)
		row, err := json.Marshal(map[string]string{"path": path, "identity": f.Person, "place": "somewhere"})
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(row, '\n'))
	}
	path := filepath.Join(dir, "faces.jsonl")
	writeFile(t, path, b.Bytes())
	return path
}

// What is exported can be ingested again: the same crops of the same people.
func TestExportsConform(t *testing.T) {
	for _, c := range []struct{ to, kind, path string }{
		{"folder", "folder", ""},
		{"recordio", "recordio", "train.rec"},
		{"webdataset", "webdataset", "{000000..000003}.tar"},
	} {
		t.Run(c.to, func(t *testing.T) {
			sourcetest.Conform(t, sourcetest.Kind{Name: c.kind, LayOut: func(t testing.TB, dir string, faces []sourcetest.Face) string {
				out := filepath.Join(dir, "out")
				_, err := export.Run(t.Context(), export.Options{
					Dataset: datasetOf(t, dir, faces), To: c.to, Out: out, ShardCrops: 60, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				return filepath.Join(out, c.path)
			}})
		})
	}
}

// datasetOf ingests faces from folders named after the people.
func datasetOf(t testing.TB, dir string, faces []sourcetest.Face) string {
	t.Helper()
	photos, out := filepath.Join(dir, "photos"), filepath.Join(dir, "faces.ds")
	layOutFolder(t, photos, faces)
	if _, err := ingest.Run(t.Context(), ingest.Options{Sources: []string{"folder=" + photos}, Out: out, ShardRows: 64}); err != nil {
		t.Fatal(err)
	}
	return out
}
