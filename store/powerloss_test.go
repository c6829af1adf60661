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
	"facepipe/store/check"
	"facepipe/store/internal/index"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// promise is something that a call which returned has made durable.
type promise struct {
	since int // calls made by then
	what  string
	kept  func(dir string) error
}

// diary is a disk's history with what was promised on the way.
type diary struct {
	disk     *powerloss.Disk
	dataset  string // its folder
	promises []promise
	digests  []string // of the dataset after each ingest
	// claims are the calls by which each session took possession of what it found: from
	// the first up to the one after the last.
	claims [][2]int
	// dies is the number of calls after which the process is killed; 0 is never.
	dies int
}

// fs is what the process writes through.
func (d *diary) fs() durable.Disk {
	if d.dies == 0 {
		return durable.Disk{FS: d.disk}
	}
	return durable.Disk{FS: storetest.Mortal{Disk: d.disk, Calls: d.dies}}
}

// claimed notes that calls from a number on were a claim.
func (d *diary) claimed(from int) { d.claims = append(d.claims, [2]int{from, d.disk.History().Len()}) }

func (d *diary) promise(what string, kept func(dir string) error) {
	d.promises = append(d.promises, promise{since: d.disk.History().Len(), what: what, kept: kept})
}

// build is the command that a user runs again: two ingests, the second appending, and
// a teacher.
func (d *diary) build() error {
	for session := range killSources {
		if err := d.ingest(session); err != nil {
			return err
		}
	}
	return d.embed()
}

func (d *diary) ingest(session int) error {
	from := d.disk.History().Len()
	w, err := store.OpenWriter(d.dataset, storetest.Contract, store.WriterOptions{ShardRows: 3, Logger: storetest.Quiet, Disk: d.fs()})
	if err != nil {
		return err
	}
	d.claimed(from)
	s := w.AddSource(killSources[session])
	for i := 5 * session; i < 5*session+5; i++ {
		before := w.Committed()
		if err := appendOne(w, s, i); err != nil {
			return errors.Join(err, w.Abort())
		}
		if w.Committed() > before {
			d.promise(fmt.Sprintf("shard %d is committed", before), func(dir string) error { return committedCrops(dir, before) })
		}
	}
	begun := d.disk.History().Len()
	if err := w.Close(); err != nil {
		return err
	}
	ds, err := store.Open(d.dataset, store.WithLogger(storetest.Quiet))
	if err != nil {
		return err
	}
	d.digests = append(d.digests, ds.Digest())
	d.promiseBeforeIndex(begun, func(dir string) error { _, err := holds(dir, ds.Digest(), ds.Shards()); return err })
	d.promise(fmt.Sprintf("ingest %d is done", session), func(dir string) error { return indexed(dir, ds.Digest(), ds.Shards()) })
	return ds.Close()
}

// promiseBeforeIndex promises what must be durable before an index is begun that refers
// to it.
func (d *diary) promiseBeforeIndex(from int, kept func(dir string) error) {
	h := d.disk.History()
	for i := from; i < h.Len(); i++ {
		if call := h.Describe(i); strings.HasPrefix(call, "mkdir ") && strings.Contains(call, index.TempPrefix) {
			d.promises = append(d.promises, promise{since: i, what: "an index is begun", kept: kept})
		}
	}
}

// appendOne brings a reject, a crop and a duplicate now and then.
func appendOne(w *store.Writer, source, i int) error {
	if i%3 == 1 {
		if err := w.Reject(store.Reject{Source: source, Key: fmt.Sprintf("broken/%d", i), Stage: "decode", Reason: "truncated"}); err != nil {
			return err
		}
	}
	twin := storetest.Crop(source, i-i%4)
	twin.Key = fmt.Sprintf("twin/%d", i)
	for _, c := range []store.Crop{storetest.Crop(source, i), twin} {
		if w.Seen(source, c.Key) {
			continue
		}
		if _, err := w.Append(c); err != nil {
			return err
		}
	}
	return nil
}

func (d *diary) embed() error {
	ds, err := store.Open(d.dataset, store.WithLogger(storetest.Quiet), store.WithDisk(d.fs()))
	if err != nil {
		return err
	}
	defer ds.Close()
	from := d.disk.History().Len()
	w, err := cache.Create(ds, storetest.Info(cache.FP16, true))
	if err != nil {
		return err
	}
	d.claimed(from)
	d.promise("the teacher is declared", func(dir string) error {
		_, err := openCache(dir)
		return err
	})
	for _, shard := range w.MissingShards() {
		if err := storetest.TryShard(ds, w, w.Info(), shard, nil); err != nil {
			return errors.Join(err, w.Close())
		}
		d.promise(fmt.Sprintf("shard %d is embedded", shard), func(dir string) error { return committedEmbeddings(dir, shard) })
	}
	return w.Close()
}

// committedCrops reads all of a crop shard, which dataset.json may not list yet.
func committedCrops(dir string, shard int) error {
	crops := filepath.Join(dir, store.CropsFolder)
	m, err := store.ReadCropManifest(crops, shard)
	if err != nil || m.File == nil {
		return err
	}
	f, err := store.OpenCropFile(filepath.Join(crops, table.ArrowName(shard)), m.File, m.Contract, m.Version)
	if err != nil {
		return err
	}
	return errors.Join(f.Audit(), f.Close())
}

// openCache opens the teacher's cache.
func openCache(dir string) (*cache.Cache, error) {
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return nil, err
	}
	return cache.Open(d, "r50")
}

func committedEmbeddings(dir string, shard int) error {
	t, err := openCache(dir)
	if err != nil {
		return err
	}
	s, err := t.Shard(shard)
	if err != nil {
		return err
	}
	row := make([]float32, t.Info().Dim)
	for k := range s.Rows() {
		if _, _, err := s.Row(k, false, row); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

// holds says that a dataset is of that digest or has grown since.
func holds(dir, digest string, shards int) (grown bool, err error) {
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return false, err
	}
	if d.Shards() == shards && d.Digest() != digest {
		return false, fmt.Errorf("digest is %s, was %s", d.Digest(), digest)
	}
	return d.Shards() > shards, d.Close()
}

// indexed is holds, with an index unless the dataset has grown.
func indexed(dir, digest string, shards int) error {
	if grown, err := holds(dir, digest, shards); err != nil || grown {
		return err
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return err
	}
	ix, err := badgerOf(d)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	return ix.Close()
}

// referee judges what the disk holds after the power came back.
type referee struct {
	t       *testing.T
	want    string          // an uninterrupted run's dataset
	digests map[string]bool // of the datasets that a run passes through
	fine    map[string]bool // states that were judged, with what was promised
	// after is the last that is asked of a state: finishes, or canGoOn, which takes a
	// tenth of the time.
	after func(root, dir string) error
}

func unread(path string) bool { return strings.HasPrefix(filepath.Base(path), durable.TempPrefix) }

// judge returns what is wrong with a state, in which some promises were made. It is
// told of a state once.
func (r *referee) judge(s powerloss.State, promises []promise) error {
	key := fmt.Sprintf("%d %d", s.Sum(unread), len(promises))
	if r.fine[key] {
		return nil
	}
	root := storetest.MemoryDir(r.t)
	defer os.RemoveAll(root)
	if err := s.Write(root); err != nil {
		r.t.Fatal(err)
	}
	dir := filepath.Join(root, filepath.Base(r.want))
	if err := r.readable(dir); err != nil {
		return err
	}
	if d, err := store.Open(dir, store.WithLogger(storetest.Quiet)); err == nil && !r.digests[d.Digest()] {
		return fmt.Errorf("digest is %s, which no run had", d.Digest())
	}
	for _, p := range promises {
		if err := p.kept(dir); err != nil {
			return fmt.Errorf("%s, but after the loss: %w", p.what, err)
		}
	}
	if err := r.after(root, dir); err != nil {
		return err
	}
	r.fine[key] = true
	return nil
}

// readable finds that a dataset reads wrong, or as damaged, before anybody writes.
func (r *referee) readable(dir string) error {
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnfinished) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if err := d.Close(); err != nil {
		return err
	}
	report, err := check.Run(r.t.Context(), dir, check.Options{ReadData: true})
	if err != nil || !report.OK {
		return fmt.Errorf("check: %+v, %v", report.Problems, err)
	}
	return nil
}

// finishes runs the same command again, and finds that it does not end up where an
// uninterrupted one does.
func (r *referee) finishes(root, dir string) error {
	disk, err := powerloss.Watch(root)
	if err != nil {
		return err
	}
	again := diary{disk: disk, dataset: dir}
	if err := again.build(); err != nil {
		return fmt.Errorf("the same command again: %w", err)
	}
	have, want := storetest.Contents(r.t, dir), storetest.Contents(r.t, r.want)
	for _, files := range []map[string][]byte{have, want} {
		for name := range files {
			if string(have[name]) != string(want[name]) {
				return fmt.Errorf("the same command again: %s differs", name)
			}
		}
	}
	d, err := store.Open(dir, store.WithLogger(storetest.Quiet))
	if err != nil {
		return err
	}
	return indexed(dir, d.Digest(), d.Shards())
}

// canGoOn takes up what was committed, as the same command would, and adds nothing.
func (r *referee) canGoOn(_, dir string) error {
	w, err := store.OpenWriter(dir, storetest.Contract, store.WriterOptions{Logger: storetest.Quiet})
	if err == nil {
		err = w.Abort()
	}
	if err != nil {
		return fmt.Errorf("going on: %w", err)
	}
	return nil
}

// recorded is an uninterrupted run and the referee of interrupted ones.
func recorded(t *testing.T) (*diary, *referee) {
	t.Helper()
	root := storetest.MemoryDir(t)
	disk, err := powerloss.Watch(root)
	if err != nil {
		t.Fatal(err)
	}
	d := &diary{disk: disk, dataset: filepath.Join(root, "faces.ds")}
	r := &referee{t: t, want: d.dataset, digests: map[string]bool{}, fine: map[string]bool{}}
	for session := range killSources {
		if err := d.ingest(session); err != nil {
			t.Fatal(err)
		}
		r.digests[storetest.Open(t, d.dataset).Digest()] = true
	}
	if err := d.embed(); err != nil {
		t.Fatal(err)
	}
	storetest.CleanCheck(t, d.dataset)
	return d, r
}

// made are the promises of the first n calls.
func (d *diary) made(n int) []promise {
	var made []promise
	for _, p := range d.promises {
		if p.since <= n {
			made = append(made, p)
		}
	}
	return made
}

// afterEveryCall judges the states after each call from the one numbered first on, and
// returns the first fault.
func (r *referee) afterEveryCall(d *diary, first, limit int, lost ...int) error {
	rng := rand.New(rand.NewPCG(1, uint64(first)))
	h := d.disk.History()
	for n := first; n <= h.Len(); n++ {
		for _, s := range h.After(n, lost...).States(limit, rng) {
			if err := r.judge(s, d.made(n)); err != nil {
				return fmt.Errorf("power lost after call %d (%s): %w", n, h.Describe(max(0, n-1)), err)
			}
		}
	}
	return nil
}

// However the power is lost, a dataset reads right or is unfinished, what was promised
// is there, and the same command finishes it.
func TestPowerLoss(t *testing.T) {
	d, r := recorded(t)
	r.after = r.finishes
	limit := 32
	if testing.Short() {
		limit = 4
	}
	if err := r.afterEveryCall(d, 0, limit); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d calls, %d promises, %d states", d.disk.History().Len(), len(d.promises), len(r.fine))
}

// Every sync is needed: without any one of them there is a call after which a loss of
// power does harm. Syncs of folders in a claim are held to it together: a claim syncs
// again what it may have found unsynced, which is the matter of TestPowerLossAfterAKill.
func TestPowerLossWithoutASync(t *testing.T) {
	d, r := recorded(t)
	r.after = r.canGoOn
	h := d.disk.History()
	syncs := h.Syncs()
	if len(syncs) < 20 {
		t.Fatalf("only %d syncs", len(syncs))
	}
	for _, sync := range syncs {
		if d.inClaim(sync) && strings.HasPrefix(h.Describe(sync), "fsync folder") {
			continue
		}
		err := r.afterEveryCall(d, sync+1, 16, sync)
		if err == nil {
			t.Errorf("call %d, %s, can be left out", sync, h.Describe(sync))
		} else {
			t.Logf("without call %d, %s: %v", sync, h.Describe(sync), err)
		}
	}
}

// inClaim says whether a call was made to take possession.
func (d *diary) inClaim(call int) bool {
	return slices.ContainsFunc(d.claims, func(c [2]int) bool { return c[0] <= call && call < c[1] })
}

// folderSyncs are the syncs of folders that a claim made.
func (d *diary) folderSyncs(claim [2]int) []int {
	var syncs []int
	for _, sync := range d.disk.History().Syncs() {
		if claim[0] <= sync && sync < claim[1] && strings.HasPrefix(d.disk.History().Describe(sync), "fsync folder") {
			syncs = append(syncs, sync)
		}
	}
	return syncs
}

// A new dataset's and a new cache's folders are synced when they are made.
func TestPowerLossWithoutAClaim(t *testing.T) {
	d, r := recorded(t)
	r.after = r.canGoOn
	for i, claim := range d.claims {
		made := i != 1 // the second ingest finds everything there
		if err := r.afterEveryCall(d, claim[0], 16, d.folderSyncs(claim)...); (err != nil) != made {
			t.Errorf("claim %d without its syncs of folders: %v", i, err)
		}
	}
}

// The process is killed, the same command finishes the job, and then the power is lost:
// what the first left unsynced, and the second builds on, must be there.
func TestPowerLossAfterAKill(t *testing.T) {
	whole, r := recorded(t)
	r.after = r.canGoOn
	h := whole.disk.History()
	needed := false
	for n := 1; n <= h.Len(); n++ {
		// Names are what a kill leaves unsynced.
		if call := h.Describe(n - 1); !strings.HasPrefix(call, "rename ") && !strings.HasPrefix(call, "mkdir ") {
			continue
		}
		d := r.killedAfter(n, whole)
		if err := r.atPromises(d); err != nil {
			t.Fatalf("killed after call %d (%s): %v", n, h.Describe(n-1), err)
		}
		if r.atPromises(d, d.folderSyncs(d.claims[0])...) != nil {
			needed = true
		}
		os.RemoveAll(filepath.Dir(d.dataset))
	}
	if !needed {
		t.Error("the claim of a second run need not sync what the first left")
	}
}

// killedAfter is a run that was killed after some calls and begun again, to its end.
func (r *referee) killedAfter(n int, whole *diary) *diary {
	root := storetest.MemoryDir(r.t)
	disk, err := powerloss.Watch(root)
	if err != nil {
		r.t.Fatal(err)
	}
	d := &diary{disk: disk, dataset: filepath.Join(root, filepath.Base(whole.dataset)), dies: n}
	if err := d.build(); err == nil && n < whole.disk.History().Len() {
		r.t.Fatalf("the run that is killed after call %d ended well", n)
	}
	again := &diary{disk: disk, dataset: d.dataset}
	if err := again.build(); err != nil {
		r.t.Fatal(err)
	}
	// The first session goes on with what the second had begun.
	for _, digest := range again.digests {
		r.digests[digest] = true
	}
	return again
}

// atPromises judges the states when something was promised, and at the end.
func (r *referee) atPromises(d *diary, lost ...int) error {
	h, rng := d.disk.History(), rand.New(rand.NewPCG(1, 2))
	moments := []int{h.Len()}
	for _, p := range d.promises {
		moments = append(moments, p.since)
	}
	for _, n := range moments {
		for _, s := range h.After(n, lost...).States(4, rng) {
			if err := r.judge(s, d.made(n)); err != nil {
				return fmt.Errorf("power lost after call %d: %w", n, err)
			}
		}
	}
	return nil
}

// The power is lost again and again, while what earlier losses left is being finished.
func TestPowerLossAgain(t *testing.T) {
	whole, r := recorded(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		d := whole
		for range 4 {
			d = r.loseAndGoOn(d, rng)
		}
		storetest.SameContents(t, d.dataset, whole.dataset)
		storetest.CleanCheck(t, d.dataset)
	}
}

// loseAndGoOn loses power at a random moment of a run, in a random way, judges what is
// left, and runs the command again.
func (r *referee) loseAndGoOn(d *diary, rng *rand.Rand) *diary {
	h := d.disk.History()
	n := rng.IntN(h.Len() + 1)
	states := h.After(n).States(16, rng)
	root := storetest.MemoryDir(r.t)
	if err := states[rng.IntN(len(states))].Write(root); err != nil {
		r.t.Fatal(err)
	}
	disk, err := powerloss.Watch(root)
	if err != nil {
		r.t.Fatal(err)
	}
	next := &diary{disk: disk, dataset: filepath.Join(root, filepath.Base(d.dataset))}
	err = r.readable(next.dataset)
	for _, p := range d.made(n) {
		err = errors.Join(err, p.kept(next.dataset))
	}
	if err = errors.Join(err, next.build()); err != nil {
		r.t.Fatalf("power lost after call %d of %d (%s): %v", n, h.Len(), h.Describe(max(0, n-1)), err)
	}
	return next
}
