package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
)

// BeginAudit is the dataset in dir as its dataset.json describes it, with no shard looked at.
func BeginAudit(dir string) (*Dataset, error) {
	doc, err := readDatasetDoc(dir)
	if err != nil {
		return nil, err
	}
	return newDataset(dir, doc), nil
}

// AuditCrops looks at every crop shard, at what they come to together, and at rejects.jsonl.
// sound is whether no crop shard is damaged.
func (d *Dataset) AuditCrops(a *table.Audit) (sound bool, err error) {
	if sound, err = d.auditShards(a); err != nil || !sound {
		return sound, err
	}
	if a.ReadsAll() {
		if sound, err = d.auditCounts(a); err != nil || !sound {
			return sound, err
		}
	}
	return true, d.auditRejects(a)
}

// auditShards checks every crop shard by itself.
func (d *Dataset) auditShards(a *table.Audit) (sound bool, err error) {
	sound = true
	idsSkipped := 0
	for i := range d.doc.Shards {
		if err := a.Context.Err(); err != nil {
			return false, err
		}
		info, err := d.loadShard(i)
		d.shards = append(d.shards, info)
		if err == nil && a.Reads(i) && info.file != nil {
			var skipped int
			skipped, err = checkCropData(a, d, i)
			idsSkipped += skipped
		}
		sound = sound && err == nil
		if err := a.Fault(err); err != nil {
			return false, err
		}
	}
	if idsSkipped > 0 {
		a.Note("the ids of %d JPEG crops were not verified: they depend on the decoder %q", idsSkipped, d.Contract().Decoder)
	}
	return sound, nil
}

// auditCounts checks the shards against each other and the totals of dataset.json. It
// reads the keys of all crops.
func (d *Dataset) auditCounts(a *table.Audit) (sound bool, err error) {
	var n known
	var duplicates, rejects int
	crops := filepath.Join(d.dir, cropsFolder)
	for i := range d.shards {
		m, err := d.readManifest(i)
		if err == nil {
			err = n.loadShard(crops, m)
		}
		if err != nil {
			return false, a.Fault(err)
		}
		duplicates += len(m.Duplicates)
		rejects += len(m.Rejects) - len(m.Superseded)
	}
	if doc := d.doc; n.crops.Len() != doc.Rows || n.identities.Len() != doc.Identities || duplicates != doc.Duplicates || rejects != doc.Rejects {
		return true, a.Fault(table.Damaged(filepath.Join(d.dir, datasetFile),
			"counts %d rows, %d identities, %d duplicates, %d rejects; its shards have %d, %d, %d, %d",
			doc.Rows, doc.Identities, doc.Duplicates, doc.Rejects, n.crops.Len(), n.identities.Len(), duplicates, rejects))
	}
	return true, nil
}

// auditRejects compares rejects.jsonl with the manifests it is made from. An
// interrupted append may have left more at its end.
func (d *Dataset) auditRejects(a *table.Audit) error {
	path := filepath.Join(d.dir, rejectsFile)
	f, err := regular.OpenOwn(path)
	if err != nil {
		return a.Fault(table.MissingIsDamage(path, err))
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for i := range d.shards {
		m, err := d.readManifest(i)
		if err != nil {
			return a.Fault(err)
		}
		for _, want := range d.superseded.left(m) {
			enc := encodeReject(want)
			line := make([]byte, len(enc)) // and no more: there may be no end of the line
			n, err := io.ReadFull(r, line)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return a.Fault(err)
			}
			if line = line[:n]; !bytes.Equal(line, enc) {
				return a.Fault(table.Damaged(path, "has %q where the manifest of shard %d has %q", line, i, enc))
			}
		}
	}
	if _, err := r.ReadByte(); err == nil {
		a.Note("%s has lines of an interrupted ingest", rejectsFile)
	}
	return nil
}

// AuditIndex looks at the index, if there is one of this snapshot.
func (d *Dataset) AuditIndex(a *table.Audit) error { return d.indexSource().Audit(a) }

// AuditRemains mentions what interrupted runs left of crops and index.
func (d *Dataset) AuditRemains(a *table.Audit) error {
	crops := filepath.Join(d.dir, cropsFolder)
	unlisted, err := d.Unlisted()
	if err != nil {
		return err
	}
	if n := len(unlisted); n > 0 {
		a.Note("%d shards are committed and not part of the dataset yet: run the interrupted ingest again", n)
	}
	if err := d.auditUnlisted(a, unlisted); err != nil {
		return err
	}
	if err := a.NoteTemps(d.dir, durable.TempPrefix, index.TempPrefix); err != nil {
		return err
	}
	return a.NoteTemps(crops, durable.TempPrefix)
}

// Unlisted are the numbers of shards that an interrupted ingest has committed and that are no part
// of the dataset yet.
func (d *Dataset) Unlisted() ([]int, error) {
	manifests, err := table.ListShards(filepath.Join(d.dir, cropsFolder), table.ManifestSuffix)
	return slices.DeleteFunc(manifests, func(shard int) bool { return shard < d.Shards() }), err
}

// auditUnlisted looks at those shards, which the next ingest takes up: they go on from the dataset's
// without a gap.
func (d *Dataset) auditUnlisted(a *table.Audit, unlisted []int) error {
	crops := filepath.Join(d.dir, cropsFolder)
	next := d.Shards()
	for _, shard := range unlisted {
		if shard > next {
			if err := a.Fault(table.Damaged(filepath.Join(crops, table.ManifestName(next)), "missing, though a later shard is there")); err != nil {
				return err
			}
		}
		next = shard + 1
		m, err := readCropManifest(crops, shard)
		if err == nil && m.File != nil {
			err = table.CheckSize(d.cropPath(shard), m.File.Bytes)
		}
		if err := a.Fault(err); err != nil {
			return err
		}
	}
	tables, err := table.ListShards(crops, table.ArrowSuffix)
	for _, shard := range tables {
		if _, described := slices.BinarySearch(unlisted, shard); shard >= d.Shards() && !described {
			a.Note("%s has no manifest: an ingest was interrupted, or the manifest is lost; the next ingest makes the shard anew", d.cropPath(shard))
		}
	}
	return err
}

// checkCropData reads all of crop shard i. It returns the number of crops whose ids
// this machine cannot verify.
func checkCropData(a *table.Audit, d *Dataset, i int) (idsSkipped int, err error) {
	f, err := d.openCrops(i)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Audit(); err != nil {
		return 0, err
	}
	for b := range f.batches() {
		c, err := f.Columns[b]()
		if err != nil {
			return idsSkipped, err
		}
		skipped, err := checkIDs(a.Context, d.Contract(), c)
		a.Bar.Add(int64(c.rows()))
		idsSkipped += skipped
		if err != nil {
			return idsSkipped, table.AsDamage(f.Path, err)
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
	if err := table.Guarded(func() { crop.Image = slices.Clone(crop.Image) }); err != nil {
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
