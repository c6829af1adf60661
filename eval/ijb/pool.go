package ijb

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/vec"
)

// How long an image's embedding is before images are summed up.
const (
	NormKeep = "keep" // as the model gave it: a longer one counts more
	NormUnit = "unit" // one
)

// Switches say how a template is made of its images. What the field's scripts call them differs,
// and use_norm_score means keep in one and unit in another.
type Switches struct {
	// Flip says that the embeddings of mirror images were added to the images' own. Nothing here
	// does that.
	Flip bool
	// Norm is [NormKeep] or [NormUnit].
	Norm string
	// DetectorScore multiplies an embedding by the detector's score of its image.
	DetectorScore bool
}

// Usual are the switches of insightface's figures.
var Usual = Switches{Flip: true, Norm: NormKeep, DetectorScore: true}

// Describe names all that decides what a template is.
func (s Switches) Describe() map[string]string {
	return map[string]string{
		"flip": strconv.FormatBool(s.Flip), "norm": s.Norm, "detector_score": strconv.FormatBool(s.DetectorScore),
		"media": "mean", "template": "sum",
	}
}

// Check reports a switch that is none, and scores that are asked for and are not there.
func (s Switches) Check(m *Meta) error {
	if s.Norm != NormKeep && s.Norm != NormUnit {
		return fmt.Errorf("norm %q: want %s or %s", s.Norm, NormKeep, NormUnit)
	}
	if !s.DetectorScore {
		return nil
	}
	if m.Scores == nil {
		return fmt.Errorf("there are no detector scores: %s%s is not in %s; leave the scores out", m.Set, scoresFile, m.dir)
	}
	lacking, first := 0, ""
	for i, score := range m.Scores {
		if score != score {
			if lacking++; lacking == 1 {
				first = m.Images[i]
			}
		}
	}
	if lacking > 0 {
		return fmt.Errorf("%w: %s%s lacks the scores of %d of %d images, the first %s; leave the scores out or complete the file",
			ErrFormat, m.Set, scoresFile, lacking, len(m.Images), first)
	}
	return nil
}

// Embeddings are those of the images, those of mirror images added if they are to be.
type Embeddings interface {
	Dim() int
	// Row copies the embedding of image i of [Meta.Images] to dst, of length Dim; ok is false where
	// there is none. It is called by several goroutines at a time.
	Row(i int, dst []float32) (ok bool, err error)
}

// Templates are vectors of the templates.
type Templates struct {
	dim     int
	vectors []float32
	usable  []bool
	// Images is how many were used, and WithoutImage how many faces of templates have no
	// embedding that can be used.
	Images, WithoutImage int
	// Unusable are the templates without a usable face, ascending.
	Unusable []int32
}

// Len is the number of templates.
func (t *Templates) Len() int { return len(t.usable) }

// Dim is the length of a vector.
func (t *Templates) Dim() int { return t.dim }

// Row copies the vector of template i, of length one, to dst; ok is false if it has no usable face.
func (t *Templates) Row(i int, dst []float32) (ok bool, err error) {
	copy(dst, t.vectors[i*t.dim:(i+1)*t.dim])
	return t.usable[i], nil
}

// Pool makes templates: the mean over the images of a media, the sum over medias, scaled to length
// one. Sums are in double precision and in the files' order, so that the result does not depend on
// the number of processors.
func (m *Meta) Pool(ctx context.Context, e Embeddings, s Switches) (*Templates, error) {
	if err := s.Check(m); err != nil {
		return nil, err
	}
	t := &Templates{dim: e.Dim(), vectors: make([]float32, len(m.Templates)*e.Dim()), usable: make([]bool, len(m.Templates))}
	var next, images atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			p := newPooler(m, e, s)
			for i := int(next.Add(1)) - 1; i < len(m.Templates); i = int(next.Add(1)) - 1 {
				err := p.pool(i)
				if err = errors.Join(err, ctx.Err()); err != nil {
					return err
				}
				t.usable[i] = p.write(t.vectors[i*t.dim : (i+1)*t.dim])
			}
			images.Add(int64(p.images))
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	t.Images = int(images.Load())
	t.WithoutImage = len(m.faces) - t.Images
	for i, usable := range t.usable {
		if !usable {
			t.Unusable = append(t.Unusable, int32(i))
		}
	}
	return t, nil
}

// pooler makes one template after another.
type pooler struct {
	m          *Meta
	e          Embeddings
	s          Switches
	row        []float32
	media, sum []float64
	images     int
}

func newPooler(m *Meta, e Embeddings, s Switches) *pooler {
	n := e.Dim()
	return &pooler{m: m, e: e, s: s, row: make([]float32, n), media: make([]float64, n), sum: make([]float64, n)}
}

// pool sums up template i.
func (p *pooler) pool(i int) error {
	clear(p.sum)
	faces := p.m.faces[p.m.starts[i]:p.m.starts[i+1]]
	for len(faces) > 0 {
		n := 1
		for n < len(faces) && faces[n].media == faces[0].media {
			n++
		}
		if err := p.addMedia(faces[:n]); err != nil {
			return err
		}
		faces = faces[n:]
	}
	return nil
}

func (p *pooler) addMedia(faces []face) error {
	clear(p.media)
	used := 0
	for _, f := range faces {
		ok, err := p.e.Row(int(f.image), p.row)
		if err != nil {
			return fmt.Errorf("embedding of %s: %w", p.m.Images[f.image], err)
		}
		weight, ok2 := p.weight(f.image)
		if !ok || !ok2 {
			continue
		}
		used++
		for i, x := range p.row {
			p.media[i] += float64(float64(x) * weight)
		}
	}
	p.images += used
	for i, x := range p.media {
		p.sum[i] += x / float64(max(used, 1))
	}
	return nil
}

// weight is what row is multiplied with; ok is false if it has no direction.
func (p *pooler) weight(image int32) (weight float64, ok bool) {
	norm := vec.Norm(p.row)
	if !vec.HasDirection(norm) {
		return 0, false
	}
	weight = 1
	if p.s.Norm == NormUnit {
		weight /= norm
	}
	if p.s.DetectorScore {
		weight *= float64(p.m.Scores[image])
	}
	return weight, true
}

// write gives the sum the length one, if it has a direction.
func (p *pooler) write(dst []float32) bool {
	norm := vec.Norm(p.sum)
	if !vec.HasDirection(norm) || math.IsInf(norm, 0) {
		return false
	}
	for i, x := range p.sum {
		dst[i] = float32(x / norm)
	}
	return true
}
