package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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

// aside is a folder of parts for the cache of a dataset, on a file system.
func aside(t *testing.T, d *store.Dataset, fs durable.FS) *cache.Parts {
	t.Helper()
	d = storetest.OpenOn(t, d.Dir(), durable.Disk{FS: fs})
	parts, err := cache.OpenParts(d, storetest.Info(cache.FP16, true), filepath.Join(filepath.Dir(d.Dir()), "job", "parts"))
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// beginPart embeds a shard, as a GPU would whose results are off by so much, and does not
// commit it.
func beginPart(t *testing.T, d *store.Dataset, parts *cache.Parts, shard int, off float32) *cache.ShardWriter {
	t.Helper()
	w, err := parts.Shard(shard)
	if err != nil {
		t.Fatal(err)
	}
	storetest.AppendShard(t, d, w, parts.info, shard, func(_ int, e []float32) { e[0] += off })
	return w
}

func embedPart(t *testing.T, d *store.Dataset, parts *cache.Parts, shard int, off float32) {
	t.Helper()
	if err := beginPart(t, d, parts, shard, off).Commit(); err != nil {
		t.Fatal(err)
	}
}

// filesIn are the names in a folder of parts, temporary ones by their prefix alone.
func filesIn(t *testing.T, parts *cache.Parts) string {
	t.Helper()
	entries, err := os.ReadDir(parts.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, durable.TempPrefix) {
			name = durable.TempPrefix
		}
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

// Of two workers at one shard the first counts, whatever the second has computed, and what
// is merged is what one process makes.
func TestFirstPartCounts(t *testing.T) {
	info := storetest.Info(cache.FP16, true)
	alone := storetest.Build(t, 20, 8)
	storetest.Embed(t, storetest.Open(t, alone), info, -1, nil)
	d := storetest.Open(t, storetest.Build(t, 20, 8))
	parts := aside(t, d, durable.OS{})
	for shard := range d.Shards() {
		first, same, other := beginPart(t, d, parts, shard, 0), beginPart(t, d, parts, shard, 0), beginPart(t, d, parts, shard, 1)
		if there, err := parts.Has(shard); there || err != nil {
			t.Errorf("shard %d before its commit: %t, %v", shard, there, err)
		}
		if err := parts.Verify(shard); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), fmt.Sprintf("part %d: ", shard)) {
			t.Errorf("a part that is not there: %v", err)
		}
		for _, w := range []*cache.ShardWriter{first, same, other} {
			if err := w.Commit(); err != nil {
				t.Errorf("shard %d: %v", shard, err)
			}
			if there, err := parts.Has(shard); !there || err != nil {
				t.Errorf("shard %d after its commit: %t, %v", shard, there, err)
			}
		}
	}
	if err := mergeParts(d, info, parts); err != nil {
		t.Fatal(err)
	}
	storetest.SameContents(t, d.Dir(), alone)
	storetest.CleanCheck(t, d.Dir())
}

// resent is a network file system whose answers get lost: a link that it has made is asked
// for again, and then the name is taken.
type resent struct{ durable.OS }

func (r resent) Link(a, b string) error {
	if err := r.OS.Link(a, b); err != nil {
		return err
	}
	return r.OS.Link(a, b)
}

func TestPartsWhoseLinksAreSentTwice(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 12, 8))
	parts := aside(t, d, resent{})
	for shard := range d.Shards() {
		embedPart(t, d, parts, shard, 0)
		embedPart(t, d, parts, shard, 1)
		if err := parts.Verify(shard); err != nil {
			t.Error(err)
		}
	}
	if got := filesIn(t, parts); strings.Contains(got, durable.TempPrefix) || strings.Count(got, ".json") != 2 {
		t.Errorf("left %s", got)
	}
}

// A file that has a part's name and not its contents is not taken for it.
func TestPartWhoseNameIsTaken(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 8, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 0, 0)
	_, path, err := parts.find(0)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := errors.Join(os.Remove(parts.manifest(0)), os.Remove(path), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := beginPart(t, d, parts, 0, 0).Commit(); !errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if there, err := parts.Has(0); there || err != nil {
		t.Errorf("a manifest stands for it: %t, %v", there, err)
	}
}

// Parts of another teacher, or of other crops, are no damage: they are in the wrong folder.
func TestForeignParts(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 12, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 1, 0)
	teacher, crops := *parts, *parts
	teacher.info.Fingerprint = "another"
	crops.dataset = storetest.Open(t, storetest.Build(t, 20, 8))
	for what, p := range map[string]*cache.Parts{"fingerprint another": &teacher, "another crop shard": &crops} {
		_, err := p.Has(1)
		for verb, err := range map[string]error{"has": err, "verify": p.Verify(1), "commit": beginPart(t, p.dataset, p, 1, 0).Commit()} {
			if !errors.Is(err, store.ErrPlan) || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), p.manifest(1)+": a part of another plan or model") ||
				!strings.Contains(err.Error(), "remove it, or name a new plan folder") {
				t.Errorf("%s, %s: %v", what, verb, err)
			}
		}
	}
	if err := parts.Verify(1); err != nil {
		t.Errorf("the part itself: %v", err)
	}
}

// What killed workers have left, and what came second, goes; parts and what is none of a
// worker's stay.
func TestTidyParts(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 24, 8))
	parts := aside(t, d, durable.OS{})
	embedPart(t, d, parts, 0, 0)
	embedPart(t, d, parts, 0, 1)
	embedPart(t, d, parts, 1, 0)
	_, first, err := parts.find(0)
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := parts.find(1)
	if err != nil {
		t.Fatal(err)
	}
	straggler := beginPart(t, d, parts, 0, 2)
	orphan := parts.path(2, strings.Repeat("0", table.TableDigits)) // its manifest may be on its way
	notes := filepath.Join(parts.dir, "notes.txt")
	for _, path := range []string{orphan, notes, filepath.Join(parts.dir, durable.TempPrefix+"killed")} {
		if err := os.WriteFile(path, []byte("1234"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, err := parts.Tidy()
	if err != nil || r.Files != 3 || r.Bytes < 4 {
		t.Errorf("removed %+v, %v", r, err)
	}
	want := []string{"000000.json", filepath.Base(first), "000001.json", filepath.Base(second), filepath.Base(orphan), "notes.txt"}
	slices.Sort(want)
	if got := filesIn(t, parts); got != strings.Join(want, " ") {
		t.Errorf("left %s", got)
	}
	if err := straggler.Commit(); !errors.Is(err, os.ErrNotExist) || errors.Is(err, store.ErrDamaged) || !strings.Contains(err.Error(), "deleted the unfinished file") {
		t.Errorf("a worker whose file is gone: %v", err)
	}
	if err := errors.Join(parts.Verify(0), parts.Verify(1)); err != nil {
		t.Error(err)
	}

	r, err = parts.Clear()
	if got := filesIn(t, parts); err != nil || r.Files != 5 || got != "notes.txt" {
		t.Errorf("cleared %+v, left %s, %v", r, got, err)
	}
}

// late is a file system on which something happens before each link of a manifest.
type late struct {
	durable.OS
	before func()
}

func (l late) Link(a, b string) error {
	if strings.HasSuffix(b, table.ManifestSuffix) {
		l.before()
	}
	return l.OS.Link(a, b)
}

// A worker whose part's file is deleted before its manifest is there leaves no manifest.
func TestPartClearedBeforeItsManifest(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 8, 8))
	var parts *cache.Parts
	parts = aside(t, d, late{before: func() {
		// The temporary file of the manifest is there already, and stays.
		files, err := parts.list()
		if err != nil {
			t.Error(err)
		}
		for _, f := range files {
			if f.kind == cache.PartTable {
				err = errors.Join(err, os.Remove(filepath.Join(parts.dir, f.name)))
			}
		}
		if err != nil || len(files) != 2 {
			t.Errorf("%v, %v", files, err)
		}
	}})
	if err := beginPart(t, d, parts, 0, 0).Commit(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if got := filesIn(t, parts); got != "" {
		t.Errorf("left %s", got)
	}
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
	return &cache.Parts{dataset: d, info: storetest.Info(cache.FP16, true), dir: plan.PartsFolder(jobAt(root)), disk: durable.Disk{FS: durable.OS{}}}, nil
}

func (p *planDiary) promise(what string, kept func(root string) error) {
	p.promises = append(p.promises, promise{since: p.disk.History().Len(), what: what, kept: kept})
}

// begin makes the plan, and the folder of its parts.
func (p *planDiary) begin() *cache.Parts {
	p.t.Helper()
	info, plan := storetest.Info(cache.FP16, true), jobAt(filepath.Dir(p.dataset.Dir()))
	if _, err := plan.WritePlanTo(p.dataset.Disk(), plan, plan.Plan{Verb: "test", Teacher: &info, Tasks: plan.ShardTasks(p.dataset)}); err != nil {
		p.t.Fatal(err)
	}
	p.promise("the plan is written", func(root string) error { _, _, err := plan.Read(jobAt(root)); return err })
	parts, err := cache.OpenParts(p.dataset, info, plan.PartsFolder(plan))
	if err != nil {
		p.t.Fatal(err)
	}
	return parts
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
	for shard := range parts.dataset.Shards() {
		if there, err := parts.Has(shard); err != nil {
			return err
		} else if there {
			if err := parts.Verify(shard); err != nil {
				return err
			}
		}
	}
	return doPlan(parts.dataset, parts.info, jobAt(root))
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
	if err := mergeParts(p.dataset, parts.info, parts); err != nil {
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
		killed := *twin
		killed.disk.FS = mortal{p.disk, n + 1}
		if err := beginPart(t, p.dataset, &killed, 0, 0).Commit(); !errors.Is(err, errKilled) {
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
