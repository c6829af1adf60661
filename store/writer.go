package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// DefaultShardRows is the number of crops in a full shard: with a teacher's
// embeddings, what a killed run may have to do again takes seconds to a minute.
const DefaultShardRows = 4096

// maxShardEvents bounds the rejects and duplicates that wait in memory for their
// shard's manifest.
const maxShardEvents = 1 << 16

// maxReasonBytes bounds the text of a reject.
const maxReasonBytes = 1024

// WriterOptions adjust a [Writer].
type WriterOptions struct {
	// ShardRows is the number of crops in a full shard; 0 is [DefaultShardRows].
	ShardRows int
	// Logger gets notices; nil is [slog.Default].
	Logger *slog.Logger
	// Disk is written to; the zero value is the system's. Tests look at what one that
	// fails makes of it.
	Disk durable.Disk
	// Context ends the building of the index, and a wait for another process that builds it, when
	// the writer is closed; nil does not.
	Context context.Context
}

// Outcome is what became of an appended crop.
type Outcome int

// The outcomes of [Writer.Append].
const (
	// Stored: the crop is in the dataset.
	Stored Outcome = iota
	// Duplicate: its pixels are stored already. Its key now leads to that crop.
	Duplicate
	// Conflict: its key leads to other pixels, from another source. It was recorded
	// as a reject.
	Conflict
	// Repeated: its source has brought this key before. Nothing was recorded: a
	// source names each of its inputs differently.
	Repeated
)

// Writer appends crops to a dataset. Full shards are committed as they fill, so
// that a killed run loses the shard in flight and nothing else: opened again, the
// Writer has [Writer.Seen] all that was committed, and given the rest in the same
// order it writes the same bytes as a run that was never interrupted.
//
// Seen may be called while another goroutine appends; all else is for one goroutine.
type Writer struct {
	dir      string
	contract Contract
	rows     int // of a full shard
	log      *slog.Logger
	disk     durable.Disk
	ctx      context.Context // of the index
	lock     *durable.Lock

	mu    sync.Mutex // guards known
	known known

	sources    []SourceInfo
	shards     []shardRef // committed
	version    int        // newest of them
	duplicates int        // in all of them
	rejects    int        // that count
	superseded superseded
	flight     *flight // nil until there is something to commit
	err        error   // first failure to write; nothing is written after it
}

// flight is the shard that is being filled.
type flight struct {
	manifest cropManifest
	packer   *cropPacker // nil without rows
	stamps   stamps
}

// OpenWriter creates the dataset in dir, or opens it to append to it, and takes its
// lock: [ErrLocked]. It refuses to append under another contract, [ErrContract], and
// to make a dataset of a folder that holds something else. What an interrupted run
// left behind is removed.
func OpenWriter(dir string, c Contract, o WriterOptions) (*Writer, error) {
	disk := o.Disk
	if disk.FS == nil {
		disk.FS = durable.OS{}
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("write dataset %s: %w", dir, err)
	}
	if o.ShardRows < 0 || o.ShardRows > math.MaxInt32 {
		return nil, fmt.Errorf("write dataset %s: %d rows a shard", dir, o.ShardRows)
	}
	w := &Writer{dir: dir, contract: c, rows: o.ShardRows, log: o.Logger, disk: disk, ctx: o.Context}
	if w.ctx == nil {
		w.ctx = context.Background()
	}
	if w.rows == 0 {
		w.rows = DefaultShardRows
	}
	if w.log == nil {
		w.log = slog.Default()
	}
	if err := claimFolder(disk, dir); err != nil {
		return nil, fmt.Errorf("write dataset %s: %w", dir, err)
	}
	lock, err := durable.TryLock(filepath.Join(dir, table.LockFile))
	if err != nil {
		return nil, fmt.Errorf("write dataset: %w", err)
	}
	w.lock = lock
	if err := w.resume(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return w, nil
}

// AddSource registers a source and returns its number. A source that is described
// in the same words as an earlier one is that source.
func (w *Writer) AddSource(s SourceInfo) int {
	if i := slices.Index(w.sources, s); i >= 0 {
		return i
	}
	w.sources = append(w.sources, s)
	f := w.inFlight()
	f.manifest.Sources = append(f.manifest.Sources, s)
	return len(w.sources) - 1
}

// Seen says whether a source's key was met before: stored, a duplicate or rejected.
func (w *Writer) Seen(source int, key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.seen(source, key)
}

// Refused says whether a source's key was met before and was rejected, or found taken
// by another source.
func (w *Writer) Refused(source int, key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.refused(source, key)
}

// Stamp is the stamp of an input that was met before.
func (w *Writer) Stamp(source int, key string) Stamp {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.stamp(source, key)
}

// Again has an input that an earlier run rejected looked at again: the writer has not seen it
// until it is appended or rejected. It reports whether there is such an input. The earlier reject
// counts no more then, unless the input is rejected for the same reason and its file is the same:
// then nothing is recorded.
func (w *Writer) Again(source int, key string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.known.refusal(source, key)
	if r == nil || r.state != rejected {
		return false
	}
	r.state = again
	return true
}

// Rows is the number of crops in the dataset, those of earlier runs and those not
// committed yet included.
func (w *Writer) Rows() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known.crops.Len()
}

// Append adds a crop, copying it. An error of a crop that cannot be stored as it is
// (no id, empty image, a key that is no [ValidKey] ...) leaves the Writer usable; a
// failure to write does not, and every later call returns it again.
func (w *Writer) Append(c Crop) (Outcome, error) {
	if err := w.usable(c.Source); err != nil {
		return 0, err
	}
	if err := validCrop(&c); err != nil {
		return 0, fmt.Errorf("append crop %q: %w", c.Key, err)
	}
	return w.take(&c)
}

// take stores a valid crop, or records what else becomes of it. One whose pixels are
// stored already needs no image.
func (w *Writer) take(c *Crop) (Outcome, error) {
	outcome, owner := w.place(c)
	if outcome == Stored || outcome == Duplicate {
		w.settle(c.Source, c.Key, c.Stamp)
	}
	switch outcome {
	case Stored:
		return outcome, w.fail(w.store(c))
	case Duplicate:
		f := w.inFlight()
		m := &f.manifest
		f.stamps.duplicates = append(f.stamps.duplicates, c.Stamp)
		m.Duplicates = append(m.Duplicates, duplicate{Source: c.Source, Key: c.Key, Of: c.ID, Identity: c.Identity})
		return outcome, w.fail(w.commitIfFull())
	case Conflict:
		return outcome, w.reject(Reject{Source: c.Source, Key: c.Key, Stage: "store", Reason: w.conflict(owner), Stamp: c.Stamp})
	default:
		return outcome, nil
	}
}

// place decides what becomes of a crop, remembers it, and labels the crop.
func (w *Writer) place(c *Crop) (Outcome, keyOwner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := &w.known
	if n.seen(c.Source, c.Key) {
		return Repeated, keyOwner{}
	}
	row, stored := n.crops.Find(table.Key128(c.ID))
	owner, taken := n.owner(c.Key)
	switch {
	case taken && !(stored && owner.row == row):
		n.event(c.Source, c.Key)
		return Conflict, owner
	case stored:
		n.claim(c.Source, c.Key, row)
		return Duplicate, owner
	}
	row, _ = n.crops.Insert(table.Key128(c.ID))
	n.claim(c.Source, c.Key, row)
	c.Label = n.label(c.Identity)
	return Stored, owner
}

// settle notes that an input has led to a crop, and that an earlier reject of it counts no more.
func (w *Writer) settle(source int, key string, s Stamp) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known.setStamp(source, key, s)
	if w.known.mend(source, key, again) {
		m := &w.inFlight().manifest
		m.Superseded = append(m.Superseded, inputRef{source, key})
	}
}

func (w *Writer) conflict(owner keyOwner) string {
	s := w.sources[owner.source]
	return fmt.Sprintf("key already taken by source %d (%s=%s), with other pixels", owner.source, s.Kind, s.Path)
}

// store puts a crop into the shard in flight.
func (w *Writer) store(c *Crop) error {
	f := w.inFlight()
	if f.packer == nil {
		var err error
		if f.packer, err = newCropPacker(w.disk, w.dir, len(w.shards), w.contract); err != nil {
			return err
		}
	}
	if err := f.packer.add(c); err != nil {
		return err
	}
	f.manifest.Rows++
	f.stamps.rows = append(f.stamps.rows, c.Stamp)
	return w.commitIfFull()
}

// Reject records an input that was refused, unless it was met before. Text that is
// not UTF-8 is mended and a long reason cut.
func (w *Writer) Reject(r Reject) error {
	if err := w.usable(r.Source); err != nil {
		return err
	}
	if err := ValidKey(r.Key); err != nil {
		return fmt.Errorf("reject %q: %w", r.Key, err)
	}
	if w.Seen(r.Source, r.Key) {
		return nil
	}
	return w.reject(r)
}

func (w *Writer) reject(r Reject) error {
	r.Stage = strings.ToValidUTF8(r.Stage, "\uFFFD")
	if len(r.Reason) > maxReasonBytes {
		r.Reason = r.Reason[:maxReasonBytes]
	}
	r.Reason = strings.ToValidUTF8(r.Reason, "\uFFFD")
	record, supersedes := w.refuse(r)
	if !record {
		return nil
	}
	f := w.inFlight()
	m := &f.manifest
	if supersedes {
		m.Superseded = append(m.Superseded, inputRef{r.Source, r.Key})
	}
	m.Rejects = append(m.Rejects, r)
	f.stamps.rejects = append(f.stamps.rejects, r.Stamp)
	return w.fail(w.commitIfFull())
}

// refuse remembers a reject. It says whether there is something to record, and whether an earlier
// reject counts no more by it.
func (w *Writer) refuse(r Reject) (record, supersedes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known.event(r.Source, r.Key)
	was := w.known.refusal(r.Source, r.Key)
	now := refusal{stamp: r.Stamp, why: r.why(), state: rejectedNow}
	if was.state == again {
		supersedes = true
		if was.why == now.why && (!was.stamp.Known() || was.stamp == now.stamp) {
			was.state = rejectedNow
			return false, false
		}
	}
	*was = now
	return true, supersedes
}

// usable says why nothing of that source can be written.
func (w *Writer) usable(source int) error {
	if w.err != nil {
		return w.err
	}
	if w.lock == nil {
		return fmt.Errorf("write dataset %s: closed", w.dir)
	}
	if source < 0 || source >= len(w.sources) {
		return fmt.Errorf("write dataset %s: no source %d", w.dir, source)
	}
	return nil
}

// fail keeps the first failure. What was in flight is lost: it was not committed, so
// that the next run does it again.
func (w *Writer) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write dataset: %w", err)
	}
	return w.err
}

func (w *Writer) inFlight() *flight {
	if w.flight == nil {
		w.flight = &flight{manifest: cropManifest{
			Header:   table.HeaderOf(table.FormatCrops),
			Shard:    len(w.shards),
			Contract: w.contract,
		}}
		for _, s := range w.shards {
			w.flight.manifest.FirstRow += s.Rows
		}
	}
	return w.flight
}

func (w *Writer) commitIfFull() error {
	m := &w.flight.manifest
	if m.Rows < w.rows && len(m.Duplicates)+len(m.Rejects) < maxShardEvents {
		return nil
	}
	return w.commit()
}
