package store

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/store/internal/table"
)

// commit makes the shard in flight durable: first its Arrow file, then the manifest
// that refers to it.
func (w *Writer) commit() error {
	f := w.flight
	m := &f.manifest
	if f.packer != nil {
		var err error
		if m.File, err = f.packer.seal(); err != nil {
			return err
		}
		if err := f.packer.out.Commit(); err != nil {
			return err
		}
	}
	m.Identities = w.known.identities.Len()
	m.Stamps = f.stamps.encode()
	sum, err := m.contentDigest()
	if err != nil {
		return err
	}
	m.Digest = hex.EncodeToString(sum[:])
	data, err := table.EncodeSealed(m)
	if err != nil {
		return fmt.Errorf("encode manifest of shard %d: %w", m.Shard, err)
	}
	path := filepath.Join(w.dir, cropsFolder, table.ManifestName(m.Shard))
	if err := w.disk.WriteFile(path, data, table.OnceMode); err != nil {
		return err
	}
	w.shards = append(w.shards, shardRef{Rows: m.Rows, Digest: m.Digest})
	w.version = max(w.version, m.Version)
	w.duplicates += len(m.Duplicates)
	w.rejects += len(m.Rejects) - len(m.Superseded)
	w.superseded.add(m)
	w.flight = nil
	return nil
}

// Close commits the last, partial shard, writes rejects.jsonl and dataset.json, builds
// the index and lets go of the dataset. Only after it do readers see what was
// appended. Without anything new it changes nothing. After Close or Abort it does
// nothing.
func (w *Writer) Close() error {
	if w.lock == nil {
		return nil
	}
	if w.err != nil {
		return errors.Join(w.err, w.Abort())
	}
	if w.flight != nil {
		if err := w.fail(w.commit()); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	if err := w.fail(w.writeDataset()); err != nil {
		return errors.Join(err, w.Abort())
	}
	w.forget()
	w.prepareIndex()
	return w.unlock()
}

// forget makes room for the building of the index, which takes as much.
func (w *Writer) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = known{}
}

// Abort gives up the shard in flight and lets go of the dataset; what was committed
// stays for a later run. After Close or Abort it does nothing.
func (w *Writer) Abort() error {
	if w.lock == nil {
		return nil
	}
	var err error
	if w.flight != nil {
		err = w.flight.packer.abort()
		w.flight = nil
	}
	return errors.Join(err, w.unlock())
}

func (w *Writer) unlock() error {
	err := w.lock.Unlock()
	w.lock = nil
	return err
}

// writeDataset writes dataset.json, and before it what it counts.
func (w *Writer) writeDataset() error {
	doc := datasetDoc{
		Header:     table.HeaderOf(table.FormatDataset),
		Contract:   w.contract,
		Sources:    w.sources,
		Rows:       w.known.crops.Len(),
		Identities: w.known.identities.Len(),
		Duplicates: w.duplicates,
		Rejects:    w.rejects,
		Shards:     w.shards,
	}
	if len(w.shards) > 0 {
		// A program that cannot read the newest shard is told so here, and one that can
		// read all of them is not kept out.
		doc.Version = w.version
	}
	if err := doc.setDigest(); err != nil {
		return err
	}
	data, err := table.EncodeSealed(&doc)
	if err != nil {
		return fmt.Errorf("encode %s: %w", datasetFile, err)
	}
	path := filepath.Join(w.dir, datasetFile)
	if old, err := regular.ReadOwn(path, int64(len(data))); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := writeRejects(w.disk, w.dir, len(w.shards), w.superseded); err != nil {
		return err
	}
	return w.disk.WriteFile(path, data, table.FileMode)
}

// writeRejects gathers the rejects of the manifests of a dataset's shards that count in one file
// for people and scripts. Nothing reads it back.
func writeRejects(disk durable.Disk, dir string, shards int, gone superseded) error {
	out, err := disk.Create(filepath.Join(dir, rejectsFile))
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(out)
	for shard := range shards {
		m, err := readCropManifest(filepath.Join(dir, cropsFolder), shard)
		if err != nil {
			return errors.Join(err, out.Abort())
		}
		for _, r := range gone.left(m) {
			// An error of the file sticks and comes out of Flush.
			_, _ = buffered.Write(encodeReject(r))
		}
	}
	if err := buffered.Flush(); err != nil {
		return errors.Join(err, out.Abort())
	}
	return out.Commit()
}

// prepareIndex builds the index so that the first reader finds it. A failure is no
// failure of the dataset, from which the index can be made at any time.
func (w *Writer) prepareIndex() {
	d, err := Open(w.dir, WithLogger(w.log), WithDisk(w.disk))
	if err == nil {
		err = errors.Join(d.indexSource().Ensure(), d.indexSource().Tidy(), d.Close())
	}
	if err != nil {
		w.log.Warn("index is not built; look-ups will read all keys", "dataset", w.dir, "cause", err)
	}
}
