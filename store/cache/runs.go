package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"facepipe/internal/durable"
	"facepipe/store/internal/table"
)

// Run is the record of a run that filled a teacher cache, or that planned to: with what it
// was done, and what it took. It says where embeddings come from and what they cost; what
// an embedding is does not depend on it, and no digest covers it.
type Run struct {
	// Begun is when the run began, UTC.
	Begun time.Time `json:"begun"`
	// Ended is done, stopped (by a signal: another run went on) or failed.
	Ended string `json:"ended"`
	// Pipe is the version of the program, Runtime that of ONNX Runtime.
	Pipe    string `json:"pipe"`
	Runtime string `json:"runtime"`
	// Provider ran the model on Devices, in half precision if Half says so. With Fallback
	// the processor may have done some of it.
	Provider string `json:"provider"`
	Devices  []int  `json:"devices"`
	Half     bool   `json:"half"`
	Fallback bool   `json:"fallback"`
	// TF32 says that a device could round float32 to TF32. MemoryLimit is how many bytes of it
	// the runtime could keep for runs, 0 for any.
	TF32        bool  `json:"tf32,omitempty"`
	MemoryLimit int64 `json:"memory_limit,omitempty"`
	// Batch is the number of crops of one run of the model. BatchReason says why it is 1 if
	// crops of a larger batch depend on each other. Decoder is that of JPEG crops.
	Batch       int    `json:"batch"`
	BatchReason string `json:"batch_reason,omitempty"`
	Decoder     string `json:"decoder"`
	// Plan is the id of the plan of which the run was a Worker ("0/2"); "" without one. The
	// run that made the plan is no worker.
	Plan   string `json:"plan,omitempty"`
	Worker string `json:"worker,omitempty"`
	// Shards were committed, with Computed crops and Copied ones, which came out of
	// CopiedFrom. What two workers did of one shard counts twice.
	Shards     int     `json:"shards"`
	Computed   int     `json:"computed"`
	Copied     int     `json:"copied"`
	CopiedFrom []Donor `json:"copied_from,omitempty"`
	// Seconds that the run took, those of all processors, and those that the devices ran
	// the model, trying it out included.
	Seconds       float64 `json:"seconds"`
	CPUSeconds    float64 `json:"cpu_seconds"`
	DeviceSeconds float64 `json:"device_seconds"`
	Stages        Stages  `json:"stages"`
	// SelfTest is there if the run compared preprocessings, Drift if it rounded to fp16.
	SelfTest *SelfTestVerdict `json:"self_test,omitempty"`
	Drift    *Drift           `json:"fp16_drift,omitempty"`
}

// How a [Run] ended.
const (
	RunDone    = "done"
	RunStopped = "stopped"
	RunFailed  = "failed"
)

// Stages is where the seconds of a run went. Open and SelfTest come first. The others
// overlap, and each but Commit is summed over those who do it: the largest in proportion to
// their number is what a faster machine would need more of.
type Stages struct {
	// Open is the time to open dataset and model, to settle the batch, and to see whether
	// they fit; SelfTest that to compare preprocessings.
	Open     float64 `json:"open_seconds"`
	SelfTest float64 `json:"self_test_seconds"`
	// Read is the time to reach crops and verify their checksums, Decode that to make
	// pixels of them, Normalise that to make the model's input: of the workers.
	Read      float64 `json:"read_seconds"`
	Decode    float64 `json:"decode_seconds"`
	Normalise float64 `json:"normalise_seconds"`
	// Infer is the model's time, Wait the time it waited for crops: of the devices.
	Infer float64 `json:"infer_seconds"`
	Wait  float64 `json:"wait_seconds"`
	// Write is the time to collect embeddings, Commit that to make shards durable.
	Write  float64 `json:"write_seconds"`
	Commit float64 `json:"commit_seconds"`
}

// SelfTestVerdict is what a comparison of preprocessings came to.
type SelfTestVerdict struct {
	// Crops were embedded under each; Contract is the name of the one that was used, with
	// its separation (d′) of same and different people and its area under the ROC curve.
	Crops      int     `json:"crops"`
	Contract   string  `json:"contract"`
	Separation float64 `json:"separation"`
	AUC        float64 `json:"auc"`
	// Better is one that told people apart better, "" if none did.
	Better string `json:"better,omitempty"`
}

// Drift is how far embeddings turn when they are rounded to half precision.
type Drift struct {
	// Embeddings were compared, each with what is stored of it.
	Embeddings int `json:"embeddings"`
	// MinCosine and MeanCosine are between the two.
	MinCosine  float64 `json:"min_cosine"`
	MeanCosine float64 `json:"mean_cosine"`
}

// RunTotals sum up the records of runs.
type RunTotals struct {
	Runs          int     `json:"runs"`
	Computed      int     `json:"computed"`
	Copied        int     `json:"copied"`
	Seconds       float64 `json:"seconds"`
	CPUSeconds    float64 `json:"cpu_seconds"`
	DeviceSeconds float64 `json:"device_seconds"`
}

// SumRuns adds records up. Runs side by side took the sum of their seconds. It is for
// store/info.
func SumRuns(runs []Run) (t RunTotals) {
	for _, r := range runs {
		t.Runs++
		t.Computed += r.Computed
		t.Copied += r.Copied
		t.Seconds += r.Seconds
		t.CPUSeconds += r.CPUSeconds
		t.DeviceSeconds += r.DeviceSeconds
	}
	return t
}

// runDoc is runs/DDDDDDDDDDDDDDDD.json, D being the first digits of the file's SHA-256: so
// nobody has to agree on names, and a record that is copied twice is there once.
type runDoc struct {
	table.Header
	Fingerprint string `json:"fingerprint"`
	Run
}

const runsFolder = "runs"

// runDigits tell records apart.
const runDigits = 16

var runName = regexp.MustCompile(fmt.Sprintf(`^[0-9a-f]{%d}\.json$`, runDigits))

// RunsFolder is where the records lie in a plan's folder, as in a cache's: there its workers
// put them.
func RunsFolder(plan string) string { return filepath.Join(plan, runsFolder) }

// RecordRun adds a record to a plan's folder of them, which is made if necessary. Any number
// of processes may do so at once. The fingerprint is that of the teacher.
func RecordRun(dir, fingerprint string, r Run) error {
	return recordRun(durable.Disk{FS: durable.OS{}}, dir, fingerprint, r)
}

// RecordRun adds a record to the cache's.
func (w *Writer) RecordRun(r Run) error {
	return recordRun(w.disk, w.cache.runs(), w.cache.info.Fingerprint, r)
}

func recordRun(disk durable.Disk, dir, fingerprint string, r Run) error {
	data, err := table.EncodeSealed(runDoc{Header: table.HeaderOf(table.FormatRun), Fingerprint: fingerprint, Run: r})
	if err == nil {
		err = putRun(disk, dir, data)
	}
	if err != nil {
		return fmt.Errorf("record the run: %w", err)
	}
	return nil
}

// putRun makes a record durable under the name of its contents.
func putRun(disk durable.Disk, dir string, data []byte) error {
	if err := disk.MkdirBelow(filepath.Dir(dir), filepath.Base(dir), table.FolderMode); err != nil {
		return err
	}
	err := disk.PutIfAbsent(filepath.Join(dir, nameOfRun(data)), data, table.OnceMode)
	if errors.Is(err, os.ErrExist) {
		return disk.FS.SyncDir(dir) // whoever put it there may not have come to that
	}
	return err
}

func nameOfRun(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:runDigits] + table.ManifestSuffix
}

// AdoptRuns takes the records of a plan's folder over into the cache's, all or, if one of
// them is damaged or of another teacher, none: [store.ErrDamaged]. It returns their sum.
func (w *Writer) AdoptRuns(dir string) (RunTotals, error) {
	runs, data, err := readRuns(dir, w.cache.info.Fingerprint)
	if err != nil {
		return RunTotals{}, err
	}
	for _, d := range data {
		if err := putRun(w.disk, w.cache.runs(), d); err != nil {
			return RunTotals{}, fmt.Errorf("take over the records of runs: %w", err)
		}
	}
	return SumRuns(runs), nil
}

func (t *Cache) runs() string { return RunsFolder(t.folder) }

// Runs are the records of the runs that filled the cache, in the order in which they began.
// Runs that were killed, and those of older programs, left none. [store.ErrDamaged].
func (t *Cache) Runs() ([]Run, error) {
	runs, _, err := readRuns(t.runs(), t.info.Fingerprint)
	return runs, err
}

// readRuns reads the records in a folder, and what their files hold.
func readRuns(dir, fingerprint string) (runs []Run, data [][]byte, err error) {
	names, err := listRuns(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		r, d, err := readRun(filepath.Join(dir, name), fingerprint)
		if err != nil {
			return nil, nil, err
		}
		runs, data = append(runs, r), append(data, d)
	}
	slices.SortStableFunc(runs, func(a, b Run) int { return a.Begun.Compare(b.Begun) })
	return runs, data, nil
}

// listRuns are the names of the records in a folder, which need not be there.
func listRuns(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if runName.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func readRun(path, fingerprint string) (Run, []byte, error) {
	var doc runDoc
	data, err := table.LoadSealed(path, table.FormatRun, &doc)
	switch {
	case err != nil:
		return Run{}, nil, err
	case doc.Fingerprint != fingerprint:
		return Run{}, nil, table.Damaged(path, "has fingerprint %s, its teacher has %s", doc.Fingerprint, fingerprint)
	case nameOfRun(data) != filepath.Base(path):
		return Run{}, nil, table.Damaged(path, "has the contents of %s", nameOfRun(data))
	}
	return doc.Run, data, nil
}

// checkRuns hands every record that is damaged to fault.
func (t *Cache) checkRuns(fault func(error) error) error {
	return AuditRuns(t.runs(), t.info.Fingerprint, fault)
}

// AuditRuns hands every record in a folder of them that is damaged to fault. It is for store/check.
func AuditRuns(dir, fingerprint string, fault func(error) error) error {
	names, err := listRuns(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		_, _, err := readRun(filepath.Join(dir, name), fingerprint)
		if err := fault(err); err != nil {
			return err
		}
	}
	return nil
}
