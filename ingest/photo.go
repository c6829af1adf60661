package ingest

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/internal/imgcodec"
)

// A large photograph is decoded at a half, a quarter or an eighth of its size: to be
// looked at by the detector, which shrinks it anyway, and again for the crop, if its
// face has pixels to spare. The rules below are part of what the contract's warp
// stands for: which pixels a crop has follows from the photograph, the landmarks and
// the decoder, and from nothing else.
const (
	// reducedSide is what the longer side of a reduced photograph has at least, in
	// pixels. Smaller ones than twice that are cheap, and always decoded in full.
	reducedSide = 640
	// oversampling is how many pixels of the photograph, along a line, a pixel of the
	// crop has left after the reduction, at least: with two the bilinear warp neither
	// blurs what was there nor skips much of it.
	oversampling = 2
)

// photograph is one that is being worked on. At most one decoded picture of it is kept,
// and accounted for in the budget that all workers share.
type photograph struct {
	*imgcodec.Photo
	budget  *semaphore.Weighted
	held    int64
	current *imgcodec.Reduced
}

// close lets go of all pictures, and gives back the budget.
func (p *photograph) close() {
	p.Recycle(p.current)
	p.current = nil
	p.Close()
	p.budget.Release(p.held)
	p.held = 0
}

// at decodes the photograph at a reduction. What was decoded before is let go first,
// with its budget: whoever waits for more while holding some could wait forever.
func (p *photograph) at(ctx context.Context, reduction int) (*imgcodec.Reduced, error) {
	if p.current != nil && p.current.Reduction == reduction {
		return p.current, nil
	}
	p.Recycle(p.current)
	p.current = nil
	if need := p.Pixels(reduction); need != p.held {
		p.close()
		if err := p.budget.Acquire(ctx, need); err != nil {
			return nil, err
		}
		p.held = need
	}
	r, err := p.Decode(reduction)
	if err != nil {
		return nil, refuse(stageDecode, err)
	}
	p.current = r
	return r, nil
}

// reduction is the largest, up to limit, that leaves enough of the photograph.
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

// enlarged maps a face that was found in a reduced photograph to the full-size one, as
// the detector itself maps from the size it looks at: lengths are multiplied, and no
// half pixels are added.
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

// contains refuses landmarks whose centre is not in the photograph: they are another
// photograph's, or in other units, and their crop would be black.
func (p *photograph) contains(face align.Landmarks) error {
	w, h := p.Size()
	c := face.Centre()
	// What is not a number is refused as such where the pose is estimated.
	if c.X < 0 || c.Y < 0 || c.X > float64(w-1) || c.Y > float64(h-1) {
		return refuse(stageAlign, fmt.Errorf("%w: their centre is (%.0f, %.0f), it has %d by %d pixels", errOutside, c.X, c.Y, w, h))
	}
	return nil
}

// reduced maps a point of the full-size photograph to the reduced one. Both count from
// the centre of their first pixel.
func reduced(q align.Point, r *imgcodec.Reduced) align.Point {
	side := float64(r.Reduction)
	within := (side - 1) / 2 // from the centre of a block's first pixel to the block's
	return align.Point{X: (q.X + float64(r.Left) - within) / side, Y: (q.Y + float64(r.Top) - within) / side}
}
