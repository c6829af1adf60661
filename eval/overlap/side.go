package overlap

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"facepipe/internal/nearest"
	"facepipe/store"
	"facepipe/store/cache"
)

// nobody is the number of a photograph without an identity.
const nobody = nearest.NoLabel

// side is one of the two sets: the teacher's embeddings of its photographs, and who they show.
// It is [nearest.Vectors]: vectors that the teacher did not give, or that have no direction,
// are not there.
type side struct {
	ds     *store.Dataset
	kept   *cache.Cache
	shards []*cache.Shard
	crops  []*store.CropShard // as far as they were needed
	rows   []int              // of the dataset; nil for all
	person []int32            // of each, or nobody
	dim    int
	flip   bool // whether the mirror image's embedding is added
	spare  sync.Pool
}

// openSide opens a dataset's cache, which must lack no shard.
func openSide(ds *store.Dataset, teacher string, example *cache.Info) (*side, error) {
	kept, err := cache.Open(ds, teacher)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w; to find the overlap, both sides need the embeddings of one teacher: %s", err, remedy(ds, teacher, example))
	}
	if err != nil {
		return nil, err
	}
	if missing := kept.MissingShards(); len(missing) > 0 {
		info := kept.Info()
		return nil, fmt.Errorf("teacher %s of %s lacks %d of %d shards: %s", teacher, ds.Dir(), len(missing), ds.Shards(), remedy(ds, teacher, &info))
	}
	s := &side{ds: ds, kept: kept, dim: kept.Info().Dim}
	s.spare.New = func() any { v := make([]float32, s.dim); return &v }
	return s, nil
}

// remedy is the command that makes a cache like an example, which may be nil.
func remedy(ds *store.Dataset, teacher string, example *cache.Info) string {
	model, flags := teacher+".onnx", ""
	if example != nil {
		model = example.ModelFile
		if example.Flip {
			flags = " --flip"
		}
	}
	return fmt.Sprintf("run pipe precompute-teacher %s --teacher %s --name %s%s", ds.Dir(), model, teacher, flags)
}

// sameSpace is [store.ErrFingerprint] if two caches are not of one model that sees alike. Their
// element types, and whether they have mirror images, may differ.
func sameSpace(a, b *side) error {
	x, y := a.kept.Info(), b.kept.Info()
	var differ []string
	for _, of := range []struct {
		what string
		same bool
	}{
		{"model", x.ModelDigest == y.ModelDigest}, {"dimension", x.Dim == y.Dim}, {"output", x.Output == y.Output && x.NormOutput == y.NormOutput},
		{"preprocessing", sameJSON(x.Preprocess, y.Preprocess)},
	} {
		if !of.same {
			differ = append(differ, of.what)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return fmt.Errorf("%w: teacher %s of %s (%s) and of %s (%s) are two, their embeddings cannot be compared: another %s; make both with one model under one name of its own (pipe precompute-teacher DATASET --teacher FILE --name NAME)",
		store.ErrFingerprint, x.Name, a.ds.Dir(), x.ModelFile, b.ds.Dir(), y.ModelFile, strings.Join(differ, ", "))
}

// sameJSON compares texts without their white space.
func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if len(a) == 0 || len(b) == 0 || json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return bytes.Equal(a, b)
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// open opens the shards that the rows are in.
func (s *side) open() error {
	s.shards, s.crops = make([]*cache.Shard, s.ds.Shards()), make([]*store.CropShard, s.ds.Shards())
	needed := make([]bool, s.ds.Shards())
	for i := range s.Len() {
		needed[s.at(i).Shard] = true
	}
	for number, need := range needed {
		if !need {
			continue
		}
		var err error
		if s.shards[number], err = s.kept.Shard(number); err != nil {
			return errors.Join(err, s.close())
		}
	}
	return nil
}

func (s *side) close() (err error) {
	for _, shard := range s.shards {
		if shard != nil {
			err = errors.Join(err, shard.Close())
		}
	}
	for _, shard := range s.crops {
		if shard != nil {
			err = errors.Join(err, shard.Close())
		}
	}
	s.shards, s.crops = nil, nil
	return err
}

// Len is the number of photographs.
func (s *side) Len() int {
	if s.rows != nil {
		return len(s.rows)
	}
	return s.ds.Rows()
}

// Dim is the length of an embedding.
func (s *side) Dim() int { return s.dim }

// row is the dataset's row of photograph i.
func (s *side) row(i int) int {
	if s.rows != nil {
		return s.rows[i]
	}
	return i
}

func (s *side) at(i int) store.Location { return s.ds.Locate(s.row(i)) }

// Row copies the embedding of photograph i to dst, as long as one; the mirror image's is added
// first if both sides have it, so that a mirrored copy is found as well.
func (s *side) Row(i int, dst []float32) (ok bool, err error) {
	at := s.at(i)
	shard := s.shards[at.Shard]
	if _, ok, err = shard.Row(int(at.Row), false, dst); err != nil || !ok || !scale(dst) {
		return false, err
	}
	if !s.flip {
		return true, nil
	}
	kept := s.spare.Get().(*[]float32)
	defer s.spare.Put(kept)
	mirror := *kept
	if _, ok, err = shard.Row(int(at.Row), true, mirror); err != nil || !ok || !scale(mirror) {
		return err == nil, err
	}
	for k, x := range mirror {
		dst[k] += x
	}
	return scale(dst), nil
}

// crop is what is known of photograph i, without its picture.
func (s *side) crop(i int) (store.Crop, error) {
	at := s.at(i)
	if s.crops[at.Shard] == nil {
		shard, err := s.ds.CropShard(int(at.Shard))
		if err != nil {
			return store.Crop{}, err
		}
		s.crops[at.Shard] = shard
	}
	return s.crops[at.Shard].Head(int(at.Row))
}

// label numbers the people of the photographs without gaps, by first appearance; known are
// their numbers or, if that is nil, the dataset's labels.
func (s *side) label(ctx context.Context, known []int32) error {
	if known == nil {
		all, err := s.ds.Labels(ctx)
		if err != nil {
			return err
		}
		known = make([]int32, s.Len())
		for i := range known {
			known[i] = all[s.row(i)]
		}
	}
	numbers := map[int32]int32{}
	s.person = make([]int32, len(known))
	for i, label := range known {
		if s.person[i] = nobody; label < 0 {
			continue
		}
		n, met := numbers[label]
		if !met {
			n = int32(len(numbers))
			numbers[label] = n
		}
		s.person[i] = n
	}
	return nil
}

// units are what a side is compared by class: its people, each by a centre, and single
// photographs.
type units struct {
	side    *side
	centres []float32 // of the people
	first   []int32   // photograph of each
	people  int       // the first units are people, by their numbers
	of      []int32   // unit of each photograph
	missing int       // photographs without a usable embedding
}

// units makes class centres: the means of the embeddings, which are as long as one. Single
// photographs of nobody follow where single says so; otherwise they are in no unit.
func (s *side) units(ctx context.Context, single bool) (*units, error) {
	u := &units{side: s, of: make([]int32, s.Len())}
	for _, p := range s.person {
		u.people = max(u.people, int(p)+1)
	}
	u.first = make([]int32, u.people)
	for n := range u.first {
		u.first[n] = -1
	}
	for i, p := range s.person {
		u.of[i] = p
		switch {
		case p != nobody && u.first[p] < 0:
			u.first[p] = int32(i)
		case p == nobody && single:
			u.of[i] = int32(len(u.first))
			u.first = append(u.first, int32(i))
		}
	}
	u.centres = make([]float32, u.people*s.dim)
	row := make([]float32, s.dim)
	for i, n := range u.of {
		if i%(1<<12) == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		ok, err := s.Row(i, row)
		if err != nil {
			return nil, err
		}
		if !ok {
			u.missing++
		}
		if !ok || n == nobody || int(n) >= u.people {
			continue
		}
		sum := u.centres[int(n)*s.dim:][:s.dim]
		for k, x := range row {
			sum[k] += x
		}
	}
	return u, nil
}

// Len is the number of units.
func (u *units) Len() int { return len(u.first) }

// Dim is the length of a vector.
func (u *units) Dim() int { return u.side.dim }

// Row copies a unit's vector to dst.
func (u *units) Row(i int, dst []float32) (ok bool, err error) {
	if i >= u.people {
		return u.side.Row(int(u.first[i]), dst)
	}
	copy(dst, u.centres[i*len(dst):])
	return true, nil
}
