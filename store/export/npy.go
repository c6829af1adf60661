package export

import (
	"encoding/binary"
	"errors"
	"math"

	"facepipe/internal/npy"
	"facepipe/store"
	"facepipe/store/cache"
)

// arrays writes a teacher's embeddings and what belongs to them. Row i of all is the
// crop of row i.
type arrays struct {
	teacher *cache.Cache
	flip    bool

	embeddings, mirrors *file // the teacher's output, [rows, dim]; mirrors if flip
	norms, mirrorNorms  *file // float32 [rows]; 0 where there is no usable output
	labels              *file // int32 [rows]; -1 without an identity
	ids                 *file // uint8 [rows, 16]
	keys                *file // a line each
	all                 []*file

	shard  *cache.Shard // that of number
	number uint32
	row    []byte // scratch
}

func newArrays(r *run) (target, error) {
	info, rows := r.teacher.Info(), r.dataset.Rows()
	element := npy.Float32
	if info.DType == cache.FP16 {
		element = npy.Float16
	}
	a := &arrays{teacher: r.teacher, flip: info.Flip}
	parts := []struct {
		to     **file
		name   string
		header []byte
		wanted bool
	}{
		{&a.embeddings, "embeddings.npy", npy.AppendHeader(nil, element, rows, info.Dim), true},
		{&a.mirrors, "embeddings_mirror.npy", npy.AppendHeader(nil, element, rows, info.Dim), info.Flip},
		{&a.norms, "norms.npy", npy.AppendHeader(nil, npy.Float32, rows), true},
		{&a.mirrorNorms, "norms_mirror.npy", npy.AppendHeader(nil, npy.Float32, rows), info.Flip},
		{&a.labels, "labels.npy", npy.AppendHeader(nil, npy.Int32, rows), true},
		{&a.ids, "ids.npy", npy.AppendHeader(nil, npy.Uint8, rows, len(store.ID{})), true},
		{&a.keys, "keys.txt", nil, true},
	}
	for _, p := range parts {
		if !p.wanted {
			continue
		}
		f, err := r.stage.create(p.name)
		if err != nil {
			a.abort()
			return nil, err
		}
		*p.to = f
		a.all = append(a.all, f)
		if _, err := f.Write(p.header); err != nil {
			a.abort()
			return nil, err
		}
	}
	return a, nil
}

func (a *arrays) add(at store.Location, c *store.Crop) error {
	if err := a.open(at.Shard); err != nil {
		return err
	}
	if err := a.embedding(int(at.Row), false, a.embeddings, a.norms); err != nil {
		return err
	}
	if a.flip {
		if err := a.embedding(int(at.Row), true, a.mirrors, a.mirrorNorms); err != nil {
			return err
		}
	}
	_, err1 := a.labels.Write(binary.LittleEndian.AppendUint32(nil, uint32(c.Label)))
	_, err2 := a.ids.Write(c.ID[:])
	_, err3 := a.keys.Write(npy.AppendKey(nil, c.Key))
	return errors.Join(err1, err2, err3)
}

// open opens a shard of embeddings in the place of the one before.
func (a *arrays) open(number uint32) (err error) {
	if a.shard != nil && a.number == number {
		return nil
	}
	if err := a.closeShard(); err != nil {
		return err
	}
	a.shard, err = a.teacher.Shard(int(number))
	a.number = number
	return err
}

func (a *arrays) closeShard() error {
	if a.shard == nil {
		return nil
	}
	err := a.shard.Close()
	a.shard = nil
	return err
}

func (a *arrays) embedding(row int, mirror bool, values, norms *file) (err error) {
	var norm float32
	if a.row, norm, err = a.shard.AppendBytes(a.row[:0], row, mirror); err != nil {
		return err
	}
	_, err1 := values.Write(a.row)
	_, err2 := norms.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(norm)))
	return errors.Join(err1, err2)
}

func (a *arrays) close() error {
	err := a.closeShard()
	for _, f := range a.all {
		err = errors.Join(err, f.close())
	}
	return err
}

func (a *arrays) abort() {
	_ = a.close() // the files are thrown away
}
