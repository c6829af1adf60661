package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/apache/arrow-go/v18/arrow/float16"

	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// A row is a raw crop of 8 x 8 pixels, which keeps a million of them on any disk, and
// an embedding of 512 half-precision numbers. Everything in row i follows from i.
const (
	cropSize     = 8
	imageBytes   = 3 * cropSize * cropSize
	dim          = 512
	rowsAnPerson = 20
)

var contract = store.Contract{CropSize: cropSize, Template: "bench", Warp: "none", Decoder: "none"}

// generator makes rows. It is for one goroutine.
type generator struct {
	source *rand.PCG
	pixels [imageBytes]byte
	half   [dim]uint16
	full   [dim]float32
	widen  []float32 // the float32 of every half-precision number
}

func newGenerator() *generator {
	g := &generator{source: rand.NewPCG(0, 0), widen: make([]float32, 1<<16)}
	for bits := range g.widen {
		g.widen[bits] = float16.FromBits(uint16(bits)).Float32()
	}
	return g
}

// crop is that of row i. It is valid until the next call.
func (g *generator) crop(i int) store.Crop {
	g.source.Seed(uint64(i), 1)
	for p := 0; p < imageBytes; p += 8 {
		binary.LittleEndian.PutUint64(g.pixels[p:], g.source.Uint64())
	}
	return store.Crop{
		ID:       store.CropID(contract, g.pixels[:]),
		Key:      fmt.Sprintf("%s/%08x.jpg", personOf(i), g.source.Uint64()>>32),
		Identity: personOf(i),
		Encoding: imgcodec.Raw,
		Image:    g.pixels[:],
	}
}

// personOf is the identity of row i.
func personOf(i int) string {
	return fmt.Sprintf("%08x", rand.NewPCG(uint64(i/rowsAnPerson), 2).Uint64()>>32)
}

// embedding is that of row i, as bits and as numbers: magnitudes spread over some
// binary orders as those of a network are, mantissas random, so that it compresses as
// little. Both are valid until the next call.
func (g *generator) embedding(i int) ([]uint16, []float32) {
	g.source.Seed(uint64(i), 3)
	for at := 0; at < dim; at += 4 {
		bits := g.source.Uint64()
		for k := range 4 {
			v := uint16(bits >> (16 * k))
			// Sign and ten bits of mantissa as they come; an exponent of 2^-7 to 1.
			h := v&0x83ff | (8+v>>10&7)<<10
			g.half[at+k], g.full[at+k] = h, g.widen[h]
		}
	}
	return g.half[:], g.full[:]
}
