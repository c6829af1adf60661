package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"facepipe/bench/measure"
	"facepipe/internal/npy"
)

// What IJB-C has.
const (
	dim       = 512
	images    = 469_375
	subjects  = 3531
	inFirst   = 1772 // of the subjects, in gallery G1
	probes    = 19_593
	templates = subjects + probes
	matedOf   = 19_557
	pairs     = 15_658_489
)

// subjectOf is whom a template shows: the first templates are those of the galleries.
func subjectOf(template int) int {
	if template < subjects {
		return template
	}
	return (template * 7919) % subjects
}

// templateOf spreads images over templates; a media has three.
func templateOf(image int) int { return image * templates / images }

func mediaOf(image int) int { return image / 3 }

func embeddingsPath(s settings) string { return filepath.Join(s.dir, "embeddings.npy") }

// makeData writes metadata of IJB-C's size and embeddings, unless they are there.
func makeData(_ context.Context, s settings) (measure.Result, error) {
	r := measure.Result{Operations: images}
	if _, err := os.Stat(embeddingsPath(s)); err == nil {
		return r, nil
	}
	meta := filepath.Join(s.dir, "meta")
	if err := os.MkdirAll(meta, 0o755); err != nil {
		return r, err
	}
	for name, lines := range map[string]func(io.Writer){
		"ijbc_face_tid_mid.txt": func(w io.Writer) {
			for i := range images {
				fmt.Fprintf(w, "%d.jpg %d %d\n", i+1, templateOf(i), mediaOf(i))
			}
		},
		"ijbc_name_5pts_score.txt": func(w io.Writer) {
			rng := rand.New(rand.NewPCG(1, 1))
			for i := range images {
				fmt.Fprintf(w, "%d.jpg 46.060 62.026 87.785 60.323 68.851 77.656 52.162 99.875 86.450 98.648 %.3f\n", i+1, 1-0.3*rng.Float64())
			}
		},
		"ijbc_template_pair_label.txt": writePairs,
		"ijbc_1N_gallery_G1.csv":       func(w io.Writer) { writeTemplates(w, 0, inFirst) },
		"ijbc_1N_gallery_G2.csv":       func(w io.Writer) { writeTemplates(w, inFirst, subjects) },
		"ijbc_1N_probe_mixed.csv":      func(w io.Writer) { writeTemplates(w, subjects, templates) },
	} {
		if err := write(filepath.Join(meta, name), lines); err != nil {
			return r, err
		}
	}
	return r, writeEmbeddings(embeddingsPath(s))
}

func writeTemplates(w io.Writer, from, to int) {
	fmt.Fprintln(w, "TEMPLATE_ID,SUBJECT_ID,FILENAME")
	for t := from; t < to; t++ {
		fmt.Fprintf(w, "%d,%d,img/%d.jpg\n", t, subjectOf(t), t)
	}
}

// writePairs compares each of the first probes with its subject's gallery template, and galleries
// with other subjects' probes, in the order of the galleries as the benchmark's list has them.
func writePairs(w io.Writer) {
	rng := rand.New(rand.NewPCG(1, 2))
	of := make([][]int, subjects)
	for p := range matedOf {
		t := subjects + p
		of[subjectOf(t)] = append(of[subjectOf(t)], t)
	}
	for g := range subjects {
		for _, t := range of[g] {
			fmt.Fprintf(w, "%d %d 1\n", g, t)
		}
		others := (pairs - matedOf) * (g + 1) / subjects
		for range others - (pairs-matedOf)*g/subjects {
			t := subjects + rng.IntN(probes)
			for subjectOf(t) == g {
				t = subjects + rng.IntN(probes)
			}
			fmt.Fprintf(w, "%d %d 0\n", g, t)
		}
	}
}

func write(path string, lines func(io.Writer)) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	lines(w)
	return errors.Join(w.Flush(), file.Close())
}

func writeEmbeddings(path string) error {
	return write(path, func(w io.Writer) {
		_, err := w.Write(npy.AppendHeader(nil, npy.Float32, images, dim))
		centre, row, bytes := make([]float32, dim), make([]float32, dim), make([]byte, 4*dim)
		for i := range images {
			if i == 0 || templateOf(i) != templateOf(i-1) {
				draw(rand.New(rand.NewPCG(uint64(subjectOf(templateOf(i))), 3)), centre, 0, nil)
			}
			draw(rand.New(rand.NewPCG(uint64(i), 4)), row, 9, centre)
			for k, x := range row {
				binary.LittleEndian.PutUint32(bytes[4*k:], math.Float32bits(x))
			}
			_, e := w.Write(bytes)
			err = errors.Join(err, e)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

// draw fills v with noise about a centre, that of sums of uniform numbers.
func draw(rng *rand.Rand, v []float32, noise float32, centre []float32) {
	for i := range v {
		bits := rng.Uint64()
		x := float32(bits&0xffff+bits>>16&0xffff+bits>>32&0xffff+bits>>48)/0x10000 - 2 // variance 1/3
		if centre == nil {
			v[i] = x
			continue
		}
		v[i] = centre[i] + noise*x
	}
}

// matrix is embeddings in memory.
type matrix struct{ values []float32 }

func (m matrix) Len() int { return len(m.values) / dim }
func (m matrix) Dim() int { return dim }
func (m matrix) Row(i int, dst []float32) (bool, error) {
	copy(dst, m.values[i*dim:(i+1)*dim])
	return true, nil
}

func readEmbeddings(path string) (m matrix, err error) {
	file, err := os.Open(path)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewReaderSize(file, 1<<20)
	h, err := npy.ReadHeader(in)
	if err != nil {
		return m, err
	}
	m.values = make([]float32, h.Shape[0]*h.Shape[1])
	row := make([]byte, 4*dim)
	for at := 0; at < len(m.values); at += dim {
		if _, err := io.ReadFull(in, row); err != nil {
			return m, err
		}
		for i := range dim {
			m.values[at+i] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
		}
	}
	return m, nil
}

// crops are embeddings of people with twenty each.
func crops(rows int) (matrix, []int32, error) {
	m, labels := matrix{make([]float32, rows*dim)}, make([]int32, rows)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < rows; from += 20 {
		group.Go(func() error {
			centre := make([]float32, dim)
			draw(rand.New(rand.NewPCG(uint64(from), 5)), centre, 0, nil)
			for i := from; i < min(from+20, rows); i++ {
				labels[i] = int32(from / 20)
				draw(rand.New(rand.NewPCG(uint64(i), 6)), m.values[i*dim:(i+1)*dim], 1.2, centre)
			}
			return nil
		})
	}
	return m, labels, group.Wait()
}
