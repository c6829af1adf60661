package student

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"facepipe/internal/worker"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net/layer"
	"facepipe/student/parallel"
	"facepipe/student/torch"
)

// world is what a rank does with the others that train the same model; see package
// parallel. Where there are none, its methods do nothing.
type world struct {
	rank      worker.Rank
	engine    *torch.Engine
	group     *torch.Group // nil alone
	watch     *parallel.Watch
	lost      chan error // a rank that ended without having left
	gradients *parallel.Gradients
	sparse    []*layer.Param // of the loss, which every rank has in full
	asked     bool           // this rank was asked to stop
	stop      bool           // one of all ranks was, before the step that is under way
}

// lostGrace is how long the loss of a rank may take to end a run by itself.
const lostGrace = 10 * time.Second

func (w *world) alone() bool { return w == nil || w.group == nil }

// ranks is the number of ranks.
func (w *world) ranks() int { return max(w.rank.Count, 1) }

// leads is whether this rank writes what the run leaves behind.
func (w *world) leads() bool { return w.rank.Index == 0 }

// slice is this rank's of the batches.
func (w *world) slice() data.Slice {
	return data.Slice{Index: w.rank.Index, Count: w.ranks()}
}

// device is the one that this rank trains on: of "cuda" the one of its number among the
// machine's ranks, unless it sees only one of the devices, which a scheduler has given it.
func (w *world) device(device string, visible int) string {
	switch {
	case w.rank.Alone() || device != "cuda":
		return device
	case visible == 1:
		return "cuda:0"
	}
	return fmt.Sprintf("cuda:%d", w.rank.Local)
}

// end waits for the end of the run. Once another rank is lost it waits no longer than it takes
// to hear of that from the collectives: a step on a device may never return.
func (w *world) end(done <-chan ended) ended {
	select {
	case e := <-done:
		return e
	case err := <-w.lost:
		select {
		case e := <-done:
			return e
		case <-time.After(lostGrace):
			return ended{err: fmt.Errorf("rank %d of %d: %w", w.rank.Index, w.rank.Count, err)}
		}
	}
}

// join meets the other ranks, if there are any.
func (w *world) join(ctx context.Context, e *torch.Engine, o Options) (err error) {
	if w.rank.Alone() {
		return nil
	}
	w.engine = e
	w.group, w.watch, err = parallel.Join(ctx, e, w.rank, o.Device, o.RendezvousTimeout, w.lost)
	return err
}

// describe says who trains together, and over what.
func (w *world) describe(out io.Writer, o *Options) {
	if w.alone() {
		return
	}
	over := "gloo"
	if o.Device != "cpu" {
		over = "nccl"
	}
	fmt.Fprintf(out, "%d ranks met at %s: gradients over %s, %d of %d crops each\n", w.rank.Count, w.rank.Master(), over, o.Batch/w.rank.Count, o.Batch)
}

// leave parts from the others after a run that ended with err. A run that failed may
// have collectives under way, which end with the process: the others notice by that.
func (w *world) leave(err error) error {
	if w.alone() {
		return err
	}
	w.engine.SyncBatchNorm(nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("rank %d of %d: %w", w.rank.Index, w.rank.Count, err)
	}
	if w.gradients != nil {
		w.gradients.Close()
	}
	if err == nil {
		s := w.engine.NewScope()
		defer s.Close()
		s.Barrier(w.group) // nobody is done before rank 0 has written the student
		err = s.Err()
	}
	w.watch.Leave()
	w.group.Close()
	w.group = nil
	return err
}

// common is what all ranks must agree on before the first step.
type common struct {
	Run manifest `json:"run"`
	// Checkpoint is the digest of the one that the run goes on from, taken at Step.
	Checkpoint string `json:"checkpoint"`
	Step       int    `json:"step"`
	Torch      string `json:"libtorch"`
	// Guard decides for all when to end.
	Guard float64 `json:"guard"`
	// Scored is whether there is a validation, for which all wait, and Every how often.
	Scored bool `json:"val_pairs"`
	Every  int  `json:"validate_every"`
}

// agree makes the ranks one: it compares what they were asked to do, and gives all the
// weights of rank 0, so that not even another kind of processor tells them apart.
func (w *world) agree(m *model, c common, syncBatchNorm bool) error {
	if w.alone() {
		return nil
	}
	s := w.engine.NewScope()
	defer s.Close()
	if err := w.compare(s, c); err != nil {
		return err
	}
	for _, p := range m.params() {
		s.Broadcast(w.group, p.Tensor(), 0)
	}
	own := append([]*layer.Param{}, m.network.Params()...)
	if m.bridge != nil {
		own = append(own, m.bridge)
	}
	var dense []*layer.Param
	for _, p := range trained(m.loss.Params()) {
		if p.Sparse {
			w.sparse = append(w.sparse, p)
		} else {
			dense = append(dense, p)
		}
	}
	var err error
	if w.gradients, err = parallel.NewGradients(s, w.group, tensors(trained(own)), tensors(dense)); err != nil {
		return err
	}
	if syncBatchNorm {
		w.engine.SyncBatchNorm(w.group)
	}
	return s.Err()
}

func (w *world) compare(s *torch.Scope, c common) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	texts, err := parallel.Exchange(s, w.group, text)
	if err != nil {
		return err
	}
	for rank, text := range texts {
		var other common
		if json.Unmarshal(text, &other) == nil && other.Run.CropsDigest != c.Run.CropsDigest {
			return fmt.Errorf("%w: this rank has the dataset %s with %d crops, rank %d has %s with %d", ErrUsage,
				c.Run.Dataset, c.Run.Crops, rank, other.Run.Dataset, other.Run.Crops)
		}
		if key := firstDifference(texts[0], text); key != "" {
			return fmt.Errorf("%w: ranks 0 and %d have another %s: start all with the same settings, on the same dataset, and with --out on a file system that they share", ErrUsage, rank, key)
		}
	}
	return nil
}

// context is the one that batches are read under. A rank among several does not stop
// by itself: all stop after the same step.
func (w *world) context(ctx context.Context) context.Context {
	if w.alone() {
		return ctx
	}
	return context.WithoutCancel(ctx)
}

// ask has the others told, with the step that comes, whether this rank is to stop.
func (w *world) ask(ctx context.Context) { w.asked = ctx.Err() != nil }

// verdict is, after a step, context.Canceled on all ranks once one was asked to stop.
func (w *world) verdict() error {
	if !w.alone() && w.stop {
		return context.Canceled
	}
	return nil
}

// errRankZero is what the other ranks end with when rank 0 fails on its own.
var errRankZero = errors.New("rank 0 failed, and says why")

// lead has rank 0 alone do something between two steps, while the others wait for it.
// All stop when one is asked to meanwhile, and fail when rank 0 does.
func (w *world) lead(ctx context.Context, work func() error) error {
	if w.alone() {
		return work()
	}
	var err error
	if w.leads() {
		err = work()
	}
	s := w.engine.NewScope()
	defer s.Close()
	const done, asked, failed = 0, 1, 2
	outcome := int64(done)
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		outcome = failed
	case ctx.Err() != nil:
		outcome = asked
	}
	worst := slices.Max(append(parallel.GatherInts(s, w.group, []int64{outcome}), done))
	switch {
	case err != nil:
		return err
	case s.Err() != nil:
		return s.Err()
	case worst == failed:
		return errRankZero
	case worst == asked:
		return context.Canceled
	}
	return nil
}

// gather makes this rank's slice of a batch the whole of it. Gradients flow to the slice
// alone: what the other ranks make of theirs is added by collect.
func (w *world) gather(s *torch.Scope, own loss.Batch) loss.Batch {
	if w.alone() || s.Err() != nil {
		return own
	}
	all := own
	w.gatherNumbers(s, own, &all)
	rows, into := []torch.Tensor{own.Student}, []*torch.Tensor{&all.Student}
	also := func(t torch.Tensor, to *torch.Tensor) {
		if !t.IsNone() {
			rows, into = append(rows, t), append(into, to)
		}
	}
	also(own.Own, &all.Own)
	also(own.Teacher, &all.Teacher)
	names := slices.Sorted(maps.Keys(own.Targets))
	targets := make([]loss.Target, len(names))
	for i, name := range names {
		targets[i].Usable = all.Targets[name].Usable
		also(own.Targets[name].Student, &targets[i].Student)
		also(own.Targets[name].Teacher, &targets[i].Teacher)
	}
	for i, t := range parallel.GatherRows(s, w.group, w.rank.Index, rows) {
		*into[i] = t
	}
	for i, name := range names {
		all.Targets[name] = targets[i]
	}
	return all
}

// gatherNumbers gathers the samples, which are mirrored, the labels, what of the teacher's is
// usable, and who is asked to stop. These always go through memory, where a rank that has died
// is noticed.
func (w *world) gatherNumbers(s *torch.Scope, own loss.Batch, all *loss.Batch) {
	flag := map[bool]int64{true: 1}
	n := len(own.Samples)
	numbers := append([]int64{flag[w.asked]}, own.Samples...)
	for _, l := range own.Labels {
		numbers = append(numbers, int64(l))
	}
	for _, m := range own.Mirrored {
		numbers = append(numbers, flag[m])
	}
	usable := [][]bool{own.Usable}
	names := slices.Sorted(maps.Keys(own.Targets))
	for _, name := range names {
		usable = append(usable, own.Targets[name].Usable)
	}
	for _, list := range usable {
		for _, u := range list {
			numbers = append(numbers, flag[u])
		}
	}
	all.Samples, all.Labels, all.Mirrored, all.Usable, all.Targets = nil, nil, nil, nil, map[string]loss.Target{}
	w.stop = false
	for one := range slices.Chunk(parallel.GatherInts(s, w.group, numbers), len(numbers)) {
		w.stop = w.stop || one[0] != 0
		all.Samples, one = append(all.Samples, one[1:1+n]...), one[1+n:]
		for _, l := range one[:n] {
			all.Labels = append(all.Labels, int32(l))
		}
		mirrored := n + len(own.Mirrored)
		for _, m := range one[n:mirrored] {
			all.Mirrored = append(all.Mirrored, m != 0)
		}
		one = one[mirrored:]
		for _, u := range one[:len(own.Usable)] {
			all.Usable = append(all.Usable, u != 0)
		}
		one = one[len(own.Usable):]
		for k, name := range names {
			t := all.Targets[name]
			for _, u := range one[:len(usable[k+1])] {
				t.Usable = append(t.Usable, u != 0)
			}
			all.Targets[name], one = t, one[len(usable[k+1]):]
		}
	}
}

// expect announces the backward that completes a step's gradients.
func (w *world) expect(s *torch.Scope) {
	if !w.alone() {
		w.gradients.Expect(s)
	}
}

// collect makes the gradients those of the whole batch, the same bits on all ranks.
func (w *world) collect(s *torch.Scope) {
	if w.alone() {
		return
	}
	w.gradients.Collect(s)
	for _, p := range w.sparse {
		if g := p.Gradient(s); !g.IsNone() {
			s.Broadcast(w.group, g, 0)
		}
	}
}
