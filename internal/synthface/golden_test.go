package synthface

import (
	"crypto/sha256"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/imgcodec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRendersAreThoseOfEver pins pixels and landmarks to the bit. Where it fails
// for a good reason, the constant renderer has to count up.
func TestRendersAreThoseOfEver(t *testing.T) {
	var got strings.Builder
	line := func(name string, img *imgcodec.Image, landmarks [10]float64) {
		h := sha256.New()
		h.Write(img.Pix)
		for _, v := range landmarks {
			binary.Write(h, binary.LittleEndian, math.Float64bits(v))
		}
		fmt.Fprintf(&got, "%s %x\n", name, h.Sum(nil))
	}
	g := New(1)
	for k := range 24 {
		hard := float64(k%3) / 2 * MaxHard
		img, landmarks := g.Aligned(k, k, hard)
		line(fmt.Sprintf("aligned %d %d %g", k, k, hard), img, landmarks)
		o := PhotoOptions{Size: 80 + 40*(k%4), Hard: hard}
		img, landmarks = g.Photo(k, k+1, o)
		line(fmt.Sprintf("photo %d %d %d %g", k, k+1, o.Size, hard), img, landmarks)
	}
	file := filepath.Join("testdata", "renders.sha256")
	if *update {
		save(t, file, []byte(got.String()))
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for k := range max(len(gotLines), len(wantLines)) {
		if k >= len(gotLines) || k >= len(wantLines) || gotLines[k] != wantLines[k] {
			t.Fatalf("line %d of %s is not what is drawn", k+1, file)
		}
	}
}

// TestContactSheet keeps a look at the faces in the repository: a person a row,
// at half their size.
func TestContactSheet(t *testing.T) {
	const side, cell = 4, AlignedSize / 2
	sheet := imgcodec.NewImage(side*cell, side*cell)
	g := New(1)
	for n := range side * side {
		img, _ := g.Aligned(n/side+8, n%side, DefaultHard)
		for y := range cell {
			for x := range cell {
				to := 3 * ((n/side*cell+y)*sheet.W + n%side*cell + x)
				for k := range 3 {
					from := 3*(2*y*img.W+2*x) + k
					sum := int(img.Pix[from]) + int(img.Pix[from+3]) + int(img.Pix[from+3*img.W]) + int(img.Pix[from+3*img.W+3])
					sheet.Pix[to+k] = byte(sum / 4)
				}
			}
		}
	}
	file := filepath.Join("testdata", "sheet.png")
	if *update {
		save(t, file, imgcodec.EncodePNG(sheet))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 100<<10 {
		t.Errorf("%s has %d bytes", file, len(data))
	}
	want, _, err := imgcodec.Decode(data, imgcodec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if share := changed(want.Pix, sheet.Pix); share > 0 {
		t.Errorf("%.1f %% of the sheet's bytes are not what is drawn", 100*share)
	}
}

func save(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
