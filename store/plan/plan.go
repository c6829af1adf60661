// Package plan keeps what workers agree on when they share a job: a folder with plan.json, which
// says what is to be done and never changes; what the workers did, in the folder
// [PartsFolder]; and merge.json, how far the parts have been put together.
//
// It says what a part is of and not how it is made: ingest and teacher know that, and
// [cache.Parts] keeps parts of a cache. A folder that holds another plan, and a dataset that is
// not the plan's, are [store.ErrPlan]; damage is [store.ErrDamaged].
package plan

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"facepipe/internal/durable"
	"facepipe/internal/regular"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// File is in a plan's folder; it is written once.
const File = "plan.json"

// Plan is a job that workers share: what is to be done, by everything that the result
// depends on, in tasks. It never changes, so that every worker and every retry does the
// same.
type Plan struct {
	// Verb is the command that the workers run.
	Verb string `json:"verb"`
	// Dataset is the folder of the dataset as it was named, made absolute, and
	// DatasetDigest its digest when the plan was made, if the workers read it.
	Dataset       string `json:"dataset"`
	DatasetDigest string `json:"dataset_digest,omitempty"`
	// Output is what the dataset was when the plan was made, if the merge makes it; nil in
	// plans of older programs.
	Output *store.PlanOutput `json:"output,omitempty"`
	// Model is the teacher's file, absolute, and Teacher its cache.
	Model   string      `json:"model,omitempty"`
	Teacher *cache.Info `json:"teacher,omitempty"`
	// Options of the verb that are for its workers, in its own words.
	Options json.RawMessage `json:"options,omitempty"`
	// Tasks are shards to embed, items to ingest, or rows of a study.
	Tasks []Task `json:"tasks"`
}

// Task is a shard to embed, a stretch of the sources' items to ingest, or a row of a study.
type Task struct {
	Shard int `json:"shard"`
	Rows  int `json:"rows"`
	// Crops is the digest of the crop shard.
	Crops string `json:"crops,omitempty"`
	// From is the first of Rows items, counted over all sources, or the number of the row.
	From int `json:"from,omitempty"`
}

type planDoc struct {
	table.Header
	Plan
}

// Rows is the number of crops, or items, of all tasks.
func (p *Plan) Rows() int {
	n := 0
	for _, t := range p.Tasks {
		n += t.Rows
	}
	return n
}

// PartsFolder is where a plan's workers put what they did.
func PartsFolder(plan string) string { return filepath.Join(plan, "parts") }

// Is is whether a folder holds a plan, also one that has lost its plan.json.
func Is(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, File))
	parts, _ := os.ReadDir(PartsFolder(dir))
	return err == nil || slices.ContainsFunc(parts, func(e os.DirEntry) bool { return partName.MatchString(e.Name()) })
}

// partName is what parts are called: after a shard, or a task.
var partName = regexp.MustCompile(`^[0-9]{6}\.(json|ds)$`)

// Write puts a plan into a folder and returns its id, a digest of all it says. The
// same plan may be there already; another one is [store.ErrPlan].
func Write(dir string, p Plan) (id string, err error) {
	return WriteOn(durable.Disk{FS: durable.OS{}}, dir, p)
}

// WriteOn is [Write] on a disk other than the system's: tests look at what one that
// fails makes of it.
func WriteOn(disk durable.Disk, dir string, p Plan) (id string, err error) {
	data, err := table.EncodeSealed(planDoc{Header: table.HeaderOf(table.FormatPlan), Plan: p})
	if err != nil {
		return "", fmt.Errorf("encode %s: %w", File, err)
	}
	if err := disk.MkdirAll(dir, table.FolderMode); err != nil {
		return "", fmt.Errorf("write plan: %w", err)
	}
	if err := table.SyncAbove(disk, dir); err != nil {
		return "", fmt.Errorf("write plan: %w", err)
	}
	id = planID(data)
	path := filepath.Join(dir, File)
	err = disk.PutIfAbsent(path, data, table.OnceMode)
	if !errors.Is(err, os.ErrExist) {
		return id, err
	}
	have, err := regular.ReadOwn(path, maxPlan)
	if err != nil {
		return id, fmt.Errorf("write plan: %w", err)
	}
	if !bytes.Equal(have, data) {
		return id, fmt.Errorf("write plan: %s holds %w: %.12s…, this one is %.12s…; name a new folder", dir, store.ErrPlan, planID(have), id)
	}
	return id, disk.FS.SyncDir(dir)
}

// maxPlan is the longest plan that is compared with another, in bytes.
const maxPlan = 1 << 30

func planID(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// Read reads the plan in a folder, and its id.
func Read(dir string) (p Plan, id string, err error) {
	path := filepath.Join(dir, File)
	var doc planDoc
	data, err := table.LoadSealed(path, table.FormatPlan, &doc)
	if errors.Is(err, os.ErrNotExist) {
		return p, "", fmt.Errorf("read plan %s: %w", dir, store.ErrNotFound)
	}
	if err != nil {
		return p, "", err
	}
	if doc.Teacher != nil {
		if err := doc.Teacher.Validate(); err != nil {
			return p, "", table.AsDamage(path, err)
		}
	}
	return doc.Plan, planID(data), nil
}

// ShardTasks are the tasks of embedding all shards of a dataset.
func ShardTasks(d *store.Dataset) []Task {
	tasks := []Task{}
	for i := range d.Shards() {
		if rows := d.ShardRows(i); rows > 0 {
			tasks = append(tasks, Task{Shard: i, Rows: rows, Crops: d.ShardDigest(i)})
		}
	}
	return tasks
}

// Fits says what keeps the plan from being one for a dataset. The dataset may have grown
// since: the plan covers what it lists.
func (p *Plan) Fits(d *store.Dataset) error {
	for _, t := range p.Tasks {
		if t.Shard < 0 || t.Shard >= d.Shards() || d.ShardRows(t.Shard) != t.Rows || d.ShardDigest(t.Shard) != t.Crops {
			return fmt.Errorf("%w: shard %d of dataset %s is not the one that the plan lists: it is another dataset, or was made anew since the plan; make another plan",
				store.ErrPlan, t.Shard, d.Dir())
		}
	}
	return nil
}
