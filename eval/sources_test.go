package eval

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/eval/faces"
	"facepipe/eval/internal/facestest"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/internal/imgcodec"
	"facepipe/internal/pickle/pickletest"
)

// texts are rows of keys of facestest's faces, which tell people apart, as CSV.
func texts(edit func(key string, row []string) []string) string {
	var names []string
	for p := range facestest.People {
		for n := range facestest.Pictures {
			names = append(names, facestest.Key(p, n+1, ".png"))
		}
	}
	var b strings.Builder
	for i, e := range facestest.Embeddings(names, 3, 1.2) {
		row := []string{names[i]}
		for _, v := range e {
			row = append(row, fmt.Sprint(v))
		}
		if row = edit(names[i], row); row != nil {
			b.WriteString(strings.Join(row, ",") + "\n")
		}
	}
	return b.String()
}

func whole(_ string, row []string) []string { return row }

// ofText is a run on embeddings alone.
func ofText(t *testing.T, list string, files ...string) (report.Report, error) {
	t.Helper()
	o := DefaultOptions()
	o.Tests, o.Embeddings = []Test{{Protocol: protocol.Pairs, List: facestest.WriteFile(t, "pairs.txt", list)}}, files
	return Run(context.Background(), o)
}

// Each kind of input that may mislead is named in the report.
func TestWarnings(t *testing.T) {
	file := facestest.WriteFile(t, "e.csv", texts(whole))
	short := facestest.WriteFile(t, "short.csv", texts(func(_ string, row []string) []string { return row[:9] }))
	lines := strings.SplitAfter(facestest.LFWList(), "\n")
	plain := func() string { // the same pairs, plain
		var b strings.Builder
		for p := range facestest.People {
			for n := 2; n <= facestest.Pictures; n++ {
				fmt.Fprintf(&b, "%s %s 1\n", facestest.Key(p, 1, ".png"), facestest.Key(p, n, ".png"))
			}
			for n := 1; n < facestest.Pictures; n++ {
				fmt.Fprintf(&b, "%s %s 0\n", facestest.Key(p, n, ".png"), facestest.Key((p+n)%facestest.People, n, ".png"))
			}
		}
		return b.String()
	}()
	for name, c := range map[string]struct {
		list  string
		files []string
		want  string
	}{
		"dimensions":    {strings.Join(lines, ""), []string{file, short}, "embeddings differ in their dimension, each model's are compared among themselves: " + file + " has 32, " + short + " has 8"},
		"an image once": {plain + "P00/P00_0001.png P00/P00_0001.png 1\n", []string{file}, "the list: 1 pairs compare an image with itself"},
		"two names":     {plain + "./P00/P00_0001.png P00/P00_0002.png 1\n", []string{file}, "second names of one image: P00/P00_0001.png and ./P00/P00_0001.png"},
		"one kind": {"img1\timg2\tlabel\tfold\n" + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(plain, " ", "\t"), "1\n", "1\t1\n"), "0\n", "0\t2\n"), []string{file},
			"the list's own folds are not used, as number 1 has 30 same and 0 different pairs"},
	} {
		r, err := ofText(t, c.list, c.files...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, c.want) }) {
			t.Errorf("%s: warnings %q, want %q", name, r.Warnings, c.want)
		}
	}
	if r, err := ofText(t, strings.Join(lines, ""), file); err != nil || len(r.Warnings) != 0 {
		t.Errorf("of nothing special: %q (%v)", r.Warnings, err)
	}
}

// Embeddings that are at fault are named, and keep nothing else from being measured.
func TestFaultyEmbeddings(t *testing.T) {
	good := facestest.WriteFile(t, "good.csv", texts(whole))
	for name, c := range map[string]struct{ text, want string }{
		"no table": {"\x80\x04.", "pickle, which is never loaded"},
		"a row less": {texts(func(key string, row []string) []string {
			if key == "P03/P03_0002.png" {
				return nil
			}
			return row
		}), "lacks the embeddings of 1 of 40 faces: P03/P03_0002.png"},
		"NaN": {texts(func(key string, row []string) []string {
			if key == "P03/P03_0002.png" {
				row[4] = "nan"
			}
			return row
		}), "1 of 40 embeddings are zero or not finite, which spoils 3 of 60 pairs: P03/P03_0002"},
		"zeros": {texts(func(key string, row []string) []string {
			if key == "P03/P03_0002.png" {
				for i := range row[1:] {
					row[1+i] = "0"
				}
			}
			return row
		}), "P03/P03_0002"},
		"without keys": {texts(func(_ string, row []string) []string { return row[1:] }) + strings.TrimPrefix(strings.Repeat(",1.5", 32), ",") + "\n", "it has no keys, and 41 rows for the 40 faces"},
	} {
		bad := facestest.WriteFile(t, "bad.csv", c.text)
		r, err := ofText(t, facestest.LFWList(), good, bad)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if len(r.Models) != 1 || len(r.Failed) != 1 || r.Failed[0].Model != bad || !strings.Contains(r.Failed[0].Error, c.want) {
			t.Errorf("%s: %d models, failed %+v", name, len(r.Models), r.Failed)
		}
	}
}

// Rows without keys are those of the set in its order, which is said.
func TestEmbeddingsWithoutKeys(t *testing.T) {
	keyed := facestest.WriteFile(t, "keyed.csv", texts(whole))
	bare := facestest.WriteFile(t, "bare.csv", texts(func(_ string, row []string) []string { return row[1:] }))
	r, err := ofText(t, facestest.LFWList(), keyed, bare)
	if err != nil || r.Models[0].AUC != r.Models[1].AUC || !strings.Contains(strings.Join(r.Models[1].Notes, ""), "row i is taken for face i") {
		t.Errorf("%+v (%v)", r.Models, err)
	}
}

// Rows without keys are the images of a .bin file in its order, those that are there again too.
func TestEmbeddingsOfABin(t *testing.T) {
	var images [][]byte
	var same []bool
	var b strings.Builder
	for p := range 24 {
		for n := range 2 {
			img := imgcodec.NewImage(faces.BinCropSize, faces.BinCropSize)
			copy(img.Pix, facestest.Crop("", p/2, n*(1-p%2)).Image) // different pairs are one image twice
			images = append(images, imgcodec.EncodePNG(img))
			fmt.Fprintf(&b, "%d.5,%d.5\n", p, n*(p%2))
		}
		same = append(same, p%2 == 0)
	}
	path := filepath.Join(t.TempDir(), "set.bin")
	if err := os.WriteFile(path, pickletest.Dialects()[0].Dump(images, same), 0o644); err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Tests, o.Embeddings = []Test{{Bin: path}}, []string{facestest.WriteFile(t, "e.csv", b.String())}
	r, err := Run(context.Background(), o)
	if err != nil || r.Dataset.Rows != 24 || r.Pairs.IdenticalPairs != 12 || r.Models[0].Same != 12 {
		t.Errorf("%+v (%v)", r, err)
	}
	o.Embeddings[0] = facestest.WriteFile(t, "e.csv", strings.Repeat("1.5,2.5\n", 24))
	if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), "24 rows for the 48 faces") {
		t.Errorf("%v", err)
	}
}

// Pairs of images that cannot be decoded are an error, or left out and said.
func TestBrokenImagesOfABin(t *testing.T) {
	var images [][]byte
	var same []bool
	for p := range 24 {
		for n := range 2 {
			crop := facestest.Crop("", p/2, 10*(p%2)+n)
			img := imgcodec.NewImage(faces.BinCropSize, faces.BinCropSize)
			copy(img.Pix, crop.Image)
			images = append(images, imgcodec.EncodePNG(img))
		}
		same = append(same, p%2 == 0)
	}
	images[5] = images[5][:40]
	path := filepath.Join(t.TempDir(), "lfw.bin")
	if err := os.WriteFile(path, pickletest.Dialects()[0].Dump(images, same), 0o644); err != nil {
		t.Fatal(err)
	}
	bin, err := faces.OpenBin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer bin.Close()
	if _, err := protocol.OfBin(t.Context(), bin, protocol.Options{}); err == nil || !strings.Contains(err.Error(), "1 images cannot be decoded (--allow-missing leaves their pairs out): 000005") {
		t.Errorf("%v", err)
	}
	p, err := protocol.OfBin(t.Context(), bin, protocol.Options{AllowMissing: true})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Describe(); d.Used != 23 || d.MissingPairs != 1 || !slices.Equal(d.Missing, []string{"000005"}) || d.Digest != bin.Describe().Digest {
		t.Errorf("%+v", d)
	}
}
