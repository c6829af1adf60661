package ingest

import (
	"context"
	"fmt"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/internal/imgcodec"
)

// A large photograph is decoded at a half, a quarter or an eighth of its size: once for the
// detector, which shrinks it anyway, and again for the crop, if the face has pixels to spare.
// The rules below belong to the contract's warp: a crop's pixels follow from the photograph,
// the landmarks and the decoder, and from nothing else.
const (
	// reducedSide is the least longer side of a reduced photograph, in pixels. Photographs
	// below twice that are cheap, and always decoded in full.
	reducedSide = 640
	// oversampling is how many pixels of the reduced photograph, along a line, fall on a pixel
	// of the crop at least. With two the bilinear warp neither blurs what was there nor skips
	// much of it.
	oversampling = 2
)

// photograph is one that is being worked on. At most one decoded picture of it is kept, which
// takes its memory from the budget of all workers.
type photograph struct {
	*imgcodec.Photo
	decoding claim
	crops    int64 // bytes that the claim covers beside the pictures
	current  *imgcodec.Reduced
}

// open begins work on a photograph, which ends with close.
func (b *budget) open(ctx context.Context, opened *imgcodec.Photo) *photograph {
	p := &photograph{Photo: opened}
	opened.Reserve = func(bytes int64) error {
		if bytes += p.crops; bytes > p.decoding.bytes {
			p.close() // for nobody waits with pictures in hand
		}
		if err := b.fits(bytes); err != nil {
			return refuse(stageDecode, err)
		}
		return p.decoding.hold(ctx, &b.decoding, bytes)
	}
	return p
}

// claimCrops has the claim cover crops of so many bytes, too, if they are many: it is to be called before
// the first of them is made. A few are not worth decoding the photograph again.
func (p *photograph) claimCrops(bytes int64) {
	const few = 4 << 20 // a crop of [MaxCropSize]
	if bytes > few {
		p.crops = bytes
		p.close()
	}
}

// close releases all pictures, and gives back the budget.
func (p *photograph) close() {
	p.Recycle(p.current)
	p.current = nil
	p.Close()
	p.decoding.release()
}

// at decodes the photograph at a reduction. It first releases what was decoded before.
func (p *photograph) at(ctx context.Context, reduction int) (*imgcodec.Reduced, error) {
	if p.current != nil && p.current.Reduction == reduction {
		return p.current, nil
	}
	p.Recycle(p.current)
	p.current = nil
	r, err := p.Decode(reduction)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil && !isRefusal(err):
		return nil, refuse(stageDecode, err)
	case err != nil:
		return nil, err
	}
	p.current = r
	return r, nil
}

// reduction is the largest one, up to limit, that leaves enough of the photograph.
func (p *photograph) reduction(limit float64) int {
	w, h := p.Size()
	return imgcodec.ReductionOf(min(limit, float64(max(w, h))/reducedSide))
}

// detect finds the faces, in pixels of the full-size photograph.
func (p *photograph) detect(ctx context.Context, d *detect.Detector) ([]detect.Face, error) {
	w, h := p.Size()
	r, err := p.at(ctx, p.reduction(d.Shrink(w, h)))
	if err != nil {
		return nil, err
	}
	faces, err := d.Detect(r.Image)
	if err != nil {
		return nil, err
	}
	for i, f := range faces {
		faces[i] = enlarged(f, r)
	}
	return faces, nil
}

// enlarged maps a face from a reduced photograph to the full-size one. Like the detector's own
// mapping it multiplies lengths and adds no half pixels.
func enlarged(f detect.Face, r *imgcodec.Reduced) detect.Face {
	x := func(v float64) float64 { return v*float64(r.Reduction) - float64(r.Left) }
	y := func(v float64) float64 { return v*float64(r.Reduction) - float64(r.Top) }
	f.X1, f.Y1, f.X2, f.Y2 = x(f.X1), y(f.Y1), x(f.X2), y(f.Y2)
	for i, q := range f.Landmarks {
		f.Landmarks[i] = align.Point{X: x(q.X), Y: y(q.Y)}
	}
	return f
}

// reductionFor is the reduction at which the crop of a face is made.
func (p *photograph) reductionFor(face align.Landmarks, size int) (int, error) {
	m, err := align.Estimate(face, align.Template(size))
	if err != nil {
		return 0, refuse(stageAlign, err)
	}
	return p.reduction(1 / (oversampling * m.Scale())), nil
}

// align makes the crop of size by size pixels of the face at the landmarks, which are
// in pixels of the full-size photograph.
func (p *photograph) align(ctx context.Context, face align.Landmarks, size int) (*imgcodec.Image, error) {
	if err := p.contains(face); err != nil {
		return nil, err
	}
	reduction, err := p.reductionFor(face, size)
	if err != nil {
		return nil, err
	}
	r, err := p.at(ctx, reduction)
	if err != nil {
		return nil, err
	}
	for i, q := range face {
		face[i] = reduced(q, r)
	}
	crop, err := align.Crop(r.Image, face, size)
	if err != nil {
		return nil, refuse(stageAlign, err)
	}
	return crop, nil
}

// contains refuses landmarks whose centre is not in the photograph. They are another
// photograph's or in other units, and their crop would be black.
func (p *photograph) contains(face align.Landmarks) error {
	w, h := p.Size()
	c := face.Centre()
	// NaN passes here; the estimate refuses it.
	if c.X < 0 || c.Y < 0 || c.X > float64(w-1) || c.Y > float64(h-1) {
		return refuse(stageAlign, fmt.Errorf("%w: their centre is (%.0f, %.0f), it has %d by %d pixels", errOutside, c.X, c.Y, w, h))
	}
	return nil
}

// reduced maps a point of the full-size photograph to the reduced one. Both count from the
// centre of their first pixel.
func reduced(q align.Point, r *imgcodec.Reduced) align.Point {
	side := float64(r.Reduction)
	within := (side - 1) / 2 // from the centre of a block's first pixel to the block's
	return align.Point{X: (q.X + float64(r.Left) - within) / side, Y: (q.Y + float64(r.Top) - within) / side}
}
