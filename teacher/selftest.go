package teacher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/plain"
	"facepipe/internal/selfcheck"
	"facepipe/store"
	"facepipe/store/cache"
)

// settle finds the contract of the cache: an older one's of that name, else what a comparison
// on some faces of the dataset confirms or finds. It comes before the cache is claimed.
func (r *run) settle(ctx context.Context) error {
	err := r.measure(ctx)
	r.summarizeContract()
	return err
}

func (r *run) measure(ctx context.Context) error {
	if !r.isNew() {
		return r.takeCached()
	}
	if r.o.NoSelfTest {
		return nil
	}
	begun := time.Now()
	result, err := selfTest(ctx, r.ds, r.model, r.o.Progress)
	r.stages.SelfTest = time.Since(begun).Seconds()
	if err != nil {
		return err
	}
	r.summary.SelfTest = result
	if err := result.Weak(); err != nil {
		err = fmt.Errorf("teacher %s: %w", r.o.Model, err)
		if !r.o.AllowWeakTeacher {
			remedy := cmp.Or(r.model.BatchRemedy(), "is it the right file? Look at --preprocess and --output")
			return fmt.Errorf("%w; %s; --allow-weak-teacher takes it as it is", err, remedy)
		}
		r.warn(err.Error())
		return nil
	}
	warning, err := result.Settle(r.models...)
	if err != nil {
		return fmt.Errorf("teacher %s: %w", r.o.Model, err)
	}
	if warning != "" {
		r.warn(warning)
	} else if result != nil && result.Best > 0 {
		r.note(fmt.Sprintf("the preprocessing is %v: %s", r.model.Preprocess(), r.model.Reason()))
	}
	return nil
}

// takeCached makes the contract of the cache of that name the models', if it is of the same
// model and none was chosen: to measure again might find another.
func (r *run) takeCached() error {
	c, err := cache.Open(r.ds, r.o.Name)
	if err != nil || r.model.Origin() == embed.Chosen || c.Info().ModelDigest != r.model.Digest() {
		return nil // to claim the cache tells what is wrong
	}
	var p embed.Preprocess
	if err := json.Unmarshal(c.Info().Preprocess, &p); err != nil {
		return fmt.Errorf("%w: cache %s: preprocessing: %w", store.ErrDamaged, r.o.Name, err)
	}
	if own := r.model.Preprocess(); p.Height != own.Height || p.Width != own.Width || p.Layout != own.Layout || p.Resample != own.Resample {
		return nil
	}
	if p != r.model.Preprocess() {
		r.note(fmt.Sprintf("the preprocessing is %v, as the cache has it (%s)", p, c.Info().PreprocessReason))
	}
	for _, m := range r.models {
		m.Adopt(p, c.Info().PreprocessReason)
	}
	return nil
}

// summarizeContract tells in the summary what is settled.
func (r *run) summarizeContract() {
	s, m := &r.summary, r.model
	s.Preprocess, s.PreprocessReason = m.Preprocess(), m.Reason()
	s.Fingerprint = m.Fingerprint(r.o.Flip, r.o.DType, embed.RoundingOf(r.o.Runtime))
}

// warn tells the user something that may be wrong.
func (r *run) warn(text string) {
	r.summary.Warnings = append(r.summary.Warnings, text)
	if r.o.Progress != nil {
		plain.Fprintf(r.o.Progress, "warning: %s\n", text)
	}
}

// selfTest compares preprocessings on faces of a dataset.
func selfTest(ctx context.Context, ds *store.Dataset, model *embed.Model, out io.Writer) (*selfcheck.Result, error) {
	faces, err := testFaces(ds)
	if err != nil {
		return nil, err
	}
	crops := ds.CropReader()
	defer crops.Close()
	return selfcheck.Run(ctx, model, selfcheck.Faces{
		Count: len(faces), Mirrored: len(faces) > 0 && faces[0].person < 0,
		Load: func(i int, rgb []byte) error { return crops.DecodeRGB(faces[i].at, rgb) },
	}, out)
}

// face is a crop of the test.
type face struct {
	at     store.Location
	person int32 // -1: compared with its mirror image
}

// testFaces draws people with two crops each from a few shards. If these are too few it draws
// crops of anybody. The same dataset gives the same faces.
func testFaces(ds *store.Dataset) ([]face, error) {
	var faces, anybody []face
	first := map[int32]*store.Location{}
	for _, shard := range sample(ds.Shards(), 4, 1) {
		s, err := ds.CropShard(shard)
		if err != nil {
			return nil, err
		}
		pairs, others, err := pairsOf(s, shard, first)
		if err := errors.Join(err, s.Close()); err != nil {
			return nil, err
		}
		faces, anybody = append(faces, pairs...), append(anybody, others...)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	if len(faces) >= 2*selfcheck.MinPeople {
		keep := sample(len(faces)/2, selfcheck.People, 1)
		var some []face
		for _, k := range keep {
			some = append(some, faces[2*k], faces[2*k+1])
		}
		return some, nil
	}
	rng.Shuffle(len(anybody), func(i, j int) { anybody[i], anybody[j] = anybody[j], anybody[i] })
	return anybody[:min(len(anybody), selfcheck.People)], nil
}

// pairsOf are the faces of a shard. pairs are the first two crops of each person whose second
// is in the shard, one after the other. anybody are the first crop of each person and all
// nameless ones, for comparison with their mirror images. first knows where each person's
// first crop is, in this or another shard; nil once there is a second.
func pairsOf(s *store.CropShard, shard int, first map[int32]*store.Location) (pairs, anybody []face, err error) {
	for row := range s.Rows() {
		c, err := s.Head(row)
		if err != nil {
			return nil, nil, err
		}
		at := store.Location{Shard: uint32(shard), Row: uint32(row)}
		if c.Label == store.NoLabel {
			anybody = append(anybody, face{at, -1})
			continue
		}
		before, met := first[c.Label]
		switch {
		case !met:
			first[c.Label] = &at
			anybody = append(anybody, face{at, -1})
		case before != nil:
			pairs = append(pairs, face{*before, c.Label}, face{at, c.Label})
			first[c.Label] = nil
		}
	}
	return pairs, anybody, nil
}
