package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/imgcodec"
	"facepipe/internal/vec"
	"facepipe/internal/verdict"
)

// checkFileDigest hashes a mapped file whose batches were verified.
func checkFileDigest(path string, data []byte, info *fileInfo) error {
	var sum [sha256.Size]byte
	// Pages that were read before may have to be read again, and a disk may fail then.
	if err := guarded(func() { sum = sha256.Sum256(data) }); err != nil {
		return damaged(path, "%w", err)
	}
	if got := hex.EncodeToString(sum[:]); got != info.SHA256 {
		return damaged(path, "SHA-256 is %s, its manifest says %s", got, info.SHA256)
	}
	return nil
}

// checkCropData reads all of crop shard i. It returns the number of crops whose ids
// this machine cannot verify.
func checkCropData(ctx context.Context, d *Dataset, i int) (idsSkipped int, err error) {
	f, err := d.openCrops(i)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.verifyAll(); err != nil {
		return 0, err
	}
	if err := checkFileDigest(f.path, f.data, f.info); err != nil {
		return 0, err
	}
	for b := range f.batches() {
		c, err := f.columns[b]()
		if err != nil {
			return idsSkipped, err
		}
		skipped, err := checkIDs(ctx, d.Contract(), c)
		idsSkipped += skipped
		if err != nil {
			return idsSkipped, asDamage(f.path, err)
		}
	}
	return idsSkipped, nil
}

// checkIDs decodes the crops of a batch and compares their ids, on all processors. It
// returns how many it skipped; the error is that of the first row that is wrong.
func checkIDs(ctx context.Context, contract Contract, c *cropColumns) (skipped int, err error) {
	workers := min(runtime.GOMAXPROCS(0), c.rows())
	faults := make([]error, c.rows())
	// A JPEG's pixels, hence its id, depend on the decoder by a level or two.
	jpeg := imgcodec.DecoderName() == contract.Decoder
	group, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		group.Go(func() error {
			rgb := make([]byte, 3*contract.CropSize*contract.CropSize)
			for k := w; k < c.rows(); k += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if jpeg || c.encoding.Value(k) != string(imgcodec.JPEG) {
					faults[k] = checkID(contract, c, k, rgb)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	for k := range faults {
		if !jpeg && c.encoding.Value(k) == string(imgcodec.JPEG) {
			skipped++
		}
	}
	wrong := slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if len(wrong) > 1 {
		return skipped, fmt.Errorf("%w; %d more such crops", wrong[0], len(wrong)-1)
	}
	return skipped, errors.Join(wrong...)
}

func checkID(contract Contract, c *cropColumns, k int, rgb []byte) error {
	crop := c.crop(k)
	// The decoder reads memory, not a mapping: pages that were verified may have to be
	// read again, and a disk may fail then.
	if err := guarded(func() { crop.Image = slices.Clone(crop.Image) }); err != nil {
		return err
	}
	if err := validCrop(&crop); err != nil {
		return fmt.Errorf("crop %q: %w", crop.Key, err)
	}
	if err := crop.DecodeRGB(contract.CropSize, rgb); err != nil {
		return fmt.Errorf("crop %q does not decode: %w", crop.Key, err)
	}
	if id := CropID(contract, rgb); id != crop.ID {
		return fmt.Errorf("crop %q has id %v, its pixels give %v", crop.Key, crop.ID, id)
	}
	return nil
}

// checkEmbeddingData reads all of a teacher's shard i and compares it with the crops.
func checkEmbeddingData(t *Teacher, i int, info *fileInfo) (err error) {
	f, err := t.openFile(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.verifyAll(); err != nil {
		return err
	}
	if err := checkFileDigest(f.path, f.data, info); err != nil {
		return err
	}
	crops, err := t.dataset.openCrops(i)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, crops.Close()) }()
	zeros := 0
	scratch := make([]float32, t.info.Dim)
	for b := range f.columns {
		c, err := f.columns[b]()
		if err != nil {
			return err
		}
		for k := range c.id.Len() {
			n, err := checkEmbeddingRow(c, k, crops, f.starts[b]+k, scratch)
			if err != nil {
				return asDamage(f.path, fmt.Errorf("row %d: %w", f.starts[b]+k, err))
			}
			zeros += n
		}
	}
	if zeros != t.shards[i].invalid {
		return damaged(f.path, "%d embeddings are invalid, its manifest lists %d", zeros, t.shards[i].invalid)
	}
	return nil
}

// checkEmbeddingRow checks row k of a batch against the crop in a row of its shard. It
// returns the number of invalid embeddings, 0 to 2. scratch has the teacher's dimension.
func checkEmbeddingRow(c *embeddingColumns, k int, crops *cropFile, row int, scratch []float32) (zeros int, err error) {
	b, at := crops.find(row)
	cropColumns, err := crops.columns[b]()
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(c.id.Value(k), cropColumns.id.Value(at)) {
		return 0, fmt.Errorf("is the embedding of crop %x, the crop is %x", c.id.Value(k), cropColumns.id.Value(at))
	}
	for _, v := range []*vectors{&c.plain, c.mirror} {
		if v == nil {
			continue
		}
		if err := v.check(k, scratch); err != nil {
			return 0, err
		}
		if v.norms[k] == 0 {
			zeros++
		}
	}
	return zeros, nil
}

// check compares an embedding with its norm: both finite, equal up to the rounding of
// the elements, and both zero if one is. x has length dim and is overwritten.
func (v *vectors) check(k int, x []float32) error {
	v.copyRow(k, x)
	if i := vec.NotFinite(x); i >= 0 {
		return fmt.Errorf("element %d is %g", i, x[i])
	}
	norm, have := float64(v.norms[k]), vec.Norm(x)
	if !(norm >= 0 && math.Abs(have-norm) <= 1.01*verdict.MaxNormDrift*norm) {
		return fmt.Errorf("norm is %g, the elements give %g", norm, have)
	}
	return nil
}
