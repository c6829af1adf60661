package imgcodec

import "errors"

// MaxReduction is the largest factor by which [Photo.Decode] makes a photograph
// smaller; the others are 1, 2 and 4.
const MaxReduction = 8

// ReductionOf is the largest of 1, 2, 4 and 8 that is not above limit; 1 if all are.
func ReductionOf(limit float64) int {
	reduction := 1
	for 2*reduction <= MaxReduction && float64(2*reduction) <= limit {
		reduction *= 2
	}
	return reduction
}

// Photo is an encoded photograph that can be decoded at full size or smaller. It is
// for one goroutine.
type Photo struct {
	// Header is what the photograph declares.
	Header Header
	// Reserve is asked for the bytes of memory that [Photo.Decode] takes in all, see [Photo.Bytes],
	// before it takes them; nil to ask nobody. Its error is Decode's. The memory is needed until
	// the picture is recycled and the photograph closed.
	Reserve func(bytes int64) error

	data []byte
	// full is the whole picture in stored orientation, kept if the decoder gives no smaller
	// one.
	full *Image
	// doubtful says that libjpeg-turbo had only a warning, so that the standard library decides.
	doubtful bool
}

// OpenPhoto reads the header of a photograph; data must not change until the last decoding.
// Errors are those of [Inspect], and ErrTooLarge for a declared size beyond lim. The limit
// holds for every reduction. Some decoders need the full size to get to a smaller one, and all
// must accept the same photographs.
func OpenPhoto(data []byte, lim Limits) (*Photo, error) {
	h, err := Inspect(data)
	if err == nil {
		err = lim.Check(h)
	}
	if err != nil {
		return nil, err
	}
	return &Photo{Header: h, data: data}, nil
}

// Size is the size of the upright photograph in pixels.
func (p *Photo) Size() (w, h int) {
	if p.Header.Orientation >= transposed {
		return p.Header.H, p.Header.W
	}
	return p.Header.W, p.Header.H
}

// decoderReduces says whether the decoder itself gives a smaller picture. For pictures smaller
// than a block libjpeg would take another fraction.
func (p *Photo) decoderReduces() bool {
	h := p.Header
	return h.Format == JPEG && max(h.W, h.H) >= MaxReduction && jpegDecoderFor(h).reduces()
}

// Reduced is a photograph at a fraction of its size, upright. Its pixel (u, v) is about
// the mean of Reduction by Reduction pixels of the photograph, those from
// (u·Reduction − Left, v·Reduction − Top) on.
type Reduced struct {
	*Image
	Reduction int
	// Left and Top, 0 to Reduction−1, are by how many pixels the first column and row reach
	// beyond the photograph. Blocks begin at the corner where the stored picture begins, and
	// EXIF may have turned that to another side.
	Left, Top int
}

// Decode decodes the photograph at a reduction of 1, 2, 4 or [MaxReduction]; the sides
// are divided and rounded up. At 1 the result is that of [Decode].
//
// libjpeg-turbo leaves out the upper frequencies of its blocks (DCT scaling), which also saves
// most of the work of decoding. Every other picture is decoded in full and each block of
// pixels is averaged; the full picture is kept for the next call. The two differ in the finest
// structure. As at full size, the decoder's name stands for the difference.
func (p *Photo) Decode(reduction int) (*Reduced, error) {
	if err := p.reserve(reduction); err != nil {
		return nil, err
	}
	stored, err := p.stored(reduction)
	if err != nil {
		return nil, err
	}
	r := &Reduced{Image: upright(stored, p.Header.Orientation), Reduction: reduction}
	beyondX, beyondY := stored.W*reduction-p.Header.W, stored.H*reduction-p.Header.H
	r.Left, r.Top = firstBlock(p.Header.Orientation, beyondX, beyondY)
	return r, nil
}

// Recycle gives back the memory of a picture that [Photo.Decode] made, unless it is still
// needed for others. nil is fine.
func (p *Photo) Recycle(r *Reduced) {
	if r != nil && (p.full == nil || &r.Pix[0] != &p.full.Pix[0]) {
		Recycle(r.Image)
	}
}

// Close gives back the memory that is kept between decodings. The photograph can be
// decoded again.
func (p *Photo) Close() {
	Recycle(p.full)
	p.full = nil
}

// stored decodes in stored orientation.
func (p *Photo) stored(reduction int) (*Image, error) {
	if p.decoderReduces() {
		return p.decode(reduction)
	}
	if p.full == nil {
		full, err := p.decode(1)
		if err != nil {
			return nil, err
		}
		p.full = full
	}
	if reduction == 1 {
		return p.full, nil
	}
	return blockMeans(p.full, reduction), nil
}

func (p *Photo) decode(reduction int) (*Image, error) {
	img := newPicture(ceilDiv(p.Header.W, reduction), ceilDiv(p.Header.H, reduction))
	h := p.Header
	h.frugal = !p.doubtful
	err := decodeInto(img.Pix, h, p.data, reduction)
	if errors.Is(err, errDoubtful) {
		img, p.doubtful = nil, true
		if err := p.reserve(reduction); err != nil {
			return nil, err
		}
		return p.decode(reduction)
	}
	if err != nil {
		return nil, err
	}
	return img, nil
}

// reserve asks for the memory that decoding at a reduction takes.
func (p *Photo) reserve(reduction int) error {
	if p.Reserve == nil {
		return nil
	}
	return p.Reserve(p.Bytes(reduction))
}

// blockMeans averages blocks of side by side pixels. At the right and the lower edge blocks
// may be smaller.
func blockMeans(src *Image, side int) *Image {
	out := NewImage(ceilDiv(src.W, side), ceilDiv(src.H, side))
	sums := make([]uint32, 3*out.W)
	for y := range out.H {
		clear(sums)
		rows := min(side, src.H-y*side)
		for i := range rows {
			addBlocks(sums, src.Pix[3*(y*side+i)*src.W:][:3*src.W], side)
		}
		row := out.Pix[3*y*out.W:][:3*out.W]
		for x := range out.W {
			n := uint32(rows * min(side, src.W-x*side))
			for c := 3 * x; c < 3*x+3; c++ {
				row[c] = byte((sums[c] + n/2) / n)
			}
		}
	}
	return out
}

// addBlocks adds runs of side pixels of a row to the sums of their blocks.
func addBlocks(sums []uint32, row []byte, side int) {
	for ; len(row) > 0; sums = sums[3:] {
		run := row[:min(3*side, len(row))]
		var r, g, b uint32
		for i := 0; i+2 < len(run); i += 3 {
			r, g, b = r+uint32(run[i]), g+uint32(run[i+1]), b+uint32(run[i+2])
		}
		sums[0], sums[1], sums[2] = sums[0]+r, sums[1]+g, sums[2]+b
		row = row[len(run):]
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
