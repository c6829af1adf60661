package cache_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/internal/durable"
	"facepipe/internal/powerloss"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
	"facepipe/store/plan"
	"facepipe/store/storetest"
)

// promise is something that a call which returned has made durable.
type promise struct {
	since int // calls made by then
	what  string
	kept  func(root string) error
}

// planDiary is the history of a plan that is made, done, merged and cleared, and what was
// promised on the way.
type planDiary struct {
	t        *testing.T
	disk     *powerloss.Disk
	dataset  *store.Dataset
	promises []promise
	cleared  int // number of the call with which parts begin to go; 0 if they stay
}

// newPlanDiary begins the history of a dataset without a plan.
func newPlanDiary(t *testing.T) *planDiary {
	t.Helper()
	root := storetest.MemoryDir(t)
	if err := os.CopyFS(filepath.Join(root, "faces.ds"), os.DirFS(storetest.Build(t, 12, 8))); err != nil {
		t.Fatal(err)
	}
	disk, err := powerloss.Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	return &planDiary{t: t, disk: disk, dataset: storetest.OpenOn(t, filepath.Join(root, "faces.ds"), durable.Disk{FS: disk})}
}

// jobAt is the folder of the plan below a root.
func jobAt(root string) string { return filepath.Join(root, "job") }

// partsAt are the parts of the plan below a root, which may not be there.
func partsAt(root string) (*cache.Parts, error) {
	d, err := store.Open(filepath.Join(root, "faces.ds"), store.WithLogger(storetest.Quiet))
	if err != nil {
		return nil, err
	}
	return cache.PartsAt(d, ofParts, plan.PartsFolder(jobAt(root))), nil
}

func (p *planDiary) promise(what string, kept func(root string) error) {
	p.promises = append(p.promises, promise{since: p.disk.History().Len(), what: what, kept: kept})
}

// begin makes the plan, and the folder of its parts.
func (p *planDiary) begin() *cache.Parts {
	p.t.Helper()
	job := jobAt(filepath.Dir(p.dataset.Dir()))
	if _, err := plan.WriteOn(p.dataset.Disk(), job, plan.Plan{Verb: "test", Teacher: &ofParts, Tasks: plan.ShardTasks(p.dataset)}); err != nil {
		p.t.Fatal(err)
	}
	p.promise("the plan is written", func(root string) error { _, _, err := plan.Read(jobAt(root)); return err })
	return openParts(p.t, p.dataset, ofParts, plan.PartsFolder(job))
}

// Commit does a part of the plan.
func (p *planDiary) commit(parts *cache.Parts, shard int, off float32) {
	p.t.Helper()
	embedPart(p.t, p.dataset, parts, shard, off)
	p.promise(fmt.Sprintf("part %d is committed", shard), func(root string) error {
		parts, err := partsAt(root)
		if err == nil {
			err = parts.Verify(shard)
		}
		return err
	})
}

// judge finds what is wrong with a state after n calls.
func (p *planDiary) judge(root string, n int) error {
	for _, promised := range p.promises {
		if promised.since > n || p.cleared > 0 && n > p.cleared && strings.HasPrefix(promised.what, "part") {
			continue
		}
		if err := promised.kept(root); err != nil {
			return fmt.Errorf("%s, but after the loss: %w", promised.what, err)
		}
	}
	parts, err := partsAt(root)
	if err != nil {
		return err
	}
	for shard := range parts.Dataset().Shards() {
		if there, err := parts.Has(shard); err != nil {
			return err
		} else if there {
			if err := parts.Verify(shard); err != nil {
				return err
			}
		}
	}
	return storetest.DoPlan(parts.Dataset(), ofParts, jobAt(root))
}

// fault is the first that is found when the power is lost after one of the calls first to
// last.
func (p *planDiary) fault(first, last int, lost ...int) error {
	h, rng := p.disk.History(), rand.New(rand.NewPCG(1, uint64(first)))
	for n := first; n <= last; n++ {
		for _, s := range h.After(n, lost...).States(8, rng) {
			root := storetest.MemoryDir(p.t)
			if err := s.Write(root); err != nil {
				p.t.Fatal(err)
			}
			err := p.judge(root, n)
			if err := os.RemoveAll(root); err != nil {
				p.t.Fatal(err)
			}
			if err != nil {
				return fmt.Errorf("power lost after call %d of %d (%s): %w", n, h.Len(), h.Describe(max(0, n-1)), err)
			}
		}
	}
	return nil
}

// syncs are those of the calls first to last whose description has some text in it.
func (p *planDiary) syncs(first, last int, text string) []int {
	var found []int
	for _, sync := range p.disk.History().Syncs() {
		if first <= sync && sync < last && strings.Contains(p.disk.History().Describe(sync), text) {
			found = append(found, sync)
		}
	}
	return found
}

// However the power is lost while a plan is made, done, merged and cleared: what was
// committed is there, a manifest refers to a file that is whole, and the same commands
// finish. Every sync of a commit is needed for this, and that between manifests and files
// when they are deleted.
func TestPowerLossOfParts(t *testing.T) {
	p := newPlanDiary(t)
	parts := p.begin()
	begun := p.disk.History().Len()
	p.commit(parts, 0, 0)
	p.commit(parts, 1, 0)
	done := p.disk.History().Len()
	p.commit(parts, 1, 0)
	p.commit(parts, 1, 1)
	if err := storetest.MergeParts(p.dataset, ofParts, parts); err != nil {
		t.Fatal(err)
	}
	p.cleared = p.disk.History().Len()
	if _, err := parts.Clear(); err != nil {
		t.Fatal(err)
	}
	end := p.disk.History().Len()
	if err := p.fault(0, end); err != nil {
		t.Fatal(err)
	}
	// The folders' names are synced by who makes them, and again by who finds them.
	for _, text := range []string{"fsync folder .", "fsync folder job"} {
		folder := p.syncs(0, begun, text)
		if err := p.fault(folder[0], begun, folder...); err == nil {
			t.Errorf("%d calls %s can be left out", len(folder), text)
		}
	}
	needed := append(p.syncs(begun, done, ""), p.syncs(p.cleared, end, "")...)
	if len(needed) != 9 {
		t.Errorf("%d syncs", len(needed))
	}
	for _, sync := range needed {
		if err := p.fault(sync+1, min(sync+20, end), sync); err == nil {
			t.Errorf("call %d, %s, can be left out", sync, p.disk.History().Describe(sync))
		}
	}
}

// A worker is killed when one of its files has its name, which may not be durable; its twin
// finds that and makes it so: the file's before a manifest refers to it.
func TestPowerLossAfterAKilledWorker(t *testing.T) {
	whole := newPlanDiary(t)
	parts := whole.begin()
	whole.commit(parts, 0, 0)
	links := 0
	for n := range whole.disk.History().Len() {
		call := whole.disk.History().Describe(n)
		if !strings.HasPrefix(call, "link job/parts/") {
			continue
		}
		links++
		p := newPlanDiary(t)
		twin := p.begin()
		killed := twin.On(storetest.Mortal{Disk: p.disk, Calls: n + 1})
		if err := beginPart(t, p.dataset, killed, 0, 0).Commit(); !errors.Is(err, storetest.ErrKilled) {
			t.Fatalf("killed after call %d: %v", n, err)
		}
		from := p.disk.History().Len()
		p.commit(twin, 0, 0)
		end := p.disk.History().Len()
		if err := p.fault(from, end); err != nil {
			t.Errorf("killed after %s: %v", call, err)
		}
		lost := p.syncs(from, end, "fsync folder job/parts")
		if strings.HasSuffix(call, table.ArrowSuffix) {
			lost = lost[:1]
		}
		if p.fault(from, end, lost...) == nil {
			t.Errorf("killed after %s: its twin need not sync it", call)
		}
	}
	if links != 2 {
		t.Errorf("%d links", links)
	}
}
