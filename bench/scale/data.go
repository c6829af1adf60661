package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/recordio"
)

const (
	side         = 112
	tile         = 8 // the size of a JPEG's blocks
	quality      = 90
	rowsAnPerson = 20
	stretch      = 1024 // crops that are drawn together
)

// makeData writes train.rec and the teacher, unless they are there.
func makeData(s settings) (err error) {
	if err := os.WriteFile(s.model(), pooling(), 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.dir, "train.rec")); err == nil {
		return nil
	}
	w, err := recordio.NewWriter(s.dir, recordio.WriterOptions{
		Images: int64(s.rows), Identities: int64((s.rows + rowsAnPerson - 1) / rowsAnPerson), Width: side, Height: side,
	})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Abort())
		}
	}()
	for from := 0; from < s.rows; from += stretch {
		for i, data := range draw(from, min(stretch, s.rows-from)) {
			if (from+i)%rowsAnPerson == 0 {
				if _, err := w.Begin(); err != nil {
					return err
				}
			}
			if _, err := w.Add(data, fmt.Sprintf("%07d.jpg", from+i)); err != nil {
				return err
			}
		}
	}
	return w.Close()
}

// draw makes the JPEGs of crops from..from+n-1: tiles of random colours, no two alike.
func draw(from, n int) [][]byte {
	files := make([][]byte, n)
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := range files {
		group.Go(func() error {
			img, rng := imgcodec.NewImage(side, side), rand.New(rand.NewPCG(uint64(from+i), 1))
			for ty := 0; ty < side; ty += tile {
				for tx := 0; tx < side; tx += tile {
					colour := rng.Uint32()
					for p := range tile * tile {
						at := 3 * ((ty+p/tile)*side + tx + p%tile)
						img.Pix[at], img.Pix[at+1], img.Pix[at+2] = byte(colour), byte(colour>>8), byte(colour>>16)
					}
				}
			}
			files[i] = imgcodec.EncodeJPEG(img, quality)
			return nil
		})
	}
	_ = group.Wait() // nothing in it fails
	return files
}

// pooling is a teacher that averages the colours of each tile: 588 values.
func pooling() []byte {
	tiles := int64(side / tile)
	m := onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Name: "pool",
		Nodes: []onnx.Node{
			{Name: "pool", OpType: "AveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"},
				Attributes: []onnx.Attribute{onnx.Ints("kernel_shape", tile, tile), onnx.Ints("strides", tile, tile)}},
			{Name: "flat", OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"embedding"}},
		},
		Inputs:  []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, side, side)...)}},
		Outputs: []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3 * tiles * tiles}}}},
	}}
	return m.Marshal()
}
