package teacher

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/selfcheck"
	"facepipe/internal/worker"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/plan"
)

// PlanVerb is the verb of plans that [Work] carries out.
const PlanVerb = "precompute-teacher"

// PlanSummary is a plan in numbers.
type PlanSummary struct {
	Plan string `json:"plan"`
	// ID is a digest of all that the plan says.
	ID      string `json:"id"`
	Verb    string `json:"verb"`
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	Tasks   int    `json:"tasks"`
	Rows    int    `json:"rows"`
	// SelfTest is that of the cache, if it is new.
	SelfTest *selfcheck.Result `json:"self_test,omitempty"`
}

// planOptions are what workers need besides the cache's own description.
type planOptions struct {
	Half bool `json:"half,omitempty"`
	TF32 bool `json:"tf32,omitempty"`
	// Decoder is the planner's decoder of JPEG crops; "" in old plans.
	Decoder string `json:"decoder,omitempty"`
}

// sameDecoder refuses a worker that would make other pixels of JPEG crops than the planner. A
// cache must not depend on which worker did what. Versions of one decoder agree.
func sameDecoder(ds *store.Dataset, tasks []plan.Task, planned string) error {
	here := imgcodec.DecoderName()
	if planned == "" || kindOf(planned) == kindOf(here) {
		return nil
	}
	for _, t := range tasks {
		shard, err := ds.CropShard(t.Shard)
		if err != nil {
			return err
		}
		found, err := hasJPEG(shard)
		if err := errors.Join(err, shard.Close()); err != nil {
			return err
		}
		if found {
			return fmt.Errorf("%w: it was made with %s for JPEG crops, here they are decoded by %s: have libjpeg-turbo (libturbojpeg0) on all machines or on none, or make another plan here",
				store.ErrPlan, planned, here)
		}
	}
	return nil
}

// kindOf is a decoder's name without its version: "libjpeg-turbo 2.1.5", "go1.26.1".
func kindOf(decoder string) string {
	first, _, _ := strings.Cut(decoder, " ")
	return strings.TrimRight(first, "0123456789.")
}

func hasJPEG(s *store.CropShard) (bool, error) {
	for row := range s.Rows() {
		c, err := s.Head(row)
		if err != nil || c.Encoding == imgcodec.JPEG {
			return err == nil, err
		}
	}
	return false, nil
}

// MakePlan writes the plan of embedding a dataset into a folder. Making the same plan
// again changes nothing; a folder with another one is store.ErrPlan. Other errors are
// those of [Precompute] before it begins to embed.
//
// Workers may have devices that this machine has not. So the model is opened on the processor.
// Of o.Runtime's provider, o.Devices and o.Batch is only checked that they can exist.
func MakePlan(ctx context.Context, o Options, dir string) (PlanSummary, error) {
	clock := startClock()
	o = o.withDefaults()
	if err := o.ValidateRuntime(); err != nil {
		return PlanSummary{}, fmt.Errorf("plan: %w", err)
	}
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return PlanSummary{}, err
	}
	defer ds.Close()
	here := o
	here.Runtime, here.Devices, here.Batch = o.Runtime.OnProcessor(), nil, 0
	models, err := openModels(ctx, here, ds)
	defer closeModels(models)
	if err != nil {
		return PlanSummary{}, err
	}
	r := &run{o: o, ds: ds, models: models, model: models[0], clock: clock}
	r.describe("looked at on the processor")
	if err := r.fits(); err != nil {
		return PlanSummary{}, err
	}
	r.stages.Open = clock.seconds()
	if err := r.settle(ctx); err != nil {
		return PlanSummary{}, stopping(err, keepsNothing)
	}
	p, err := r.planOf()
	if err != nil {
		return PlanSummary{}, err
	}
	// Find out now what workers could not copy from.
	if err := r.openDonors(*p.Teacher); err != nil {
		return PlanSummary{}, err
	}
	r.closeDonors()
	_, _, before := plan.Read(dir)
	id, err := plan.Write(dir, p)
	if err == nil && errors.Is(before, store.ErrNotFound) && r.summary.SelfTest != nil {
		r.o.plan, r.o.Runtime, r.o.Devices = id, here.Runtime, here.Devices
		err = cache.RecordRun(cache.RunsFolder(dir), r.summary.Fingerprint, r.record(nil))
	}
	return PlanSummary{Plan: dir, ID: id, Verb: p.Verb, Dataset: p.Dataset, Teacher: p.Teacher.Name, Tasks: len(p.Tasks), Rows: p.Rows(),
		SelfTest: r.summary.SelfTest}, err
}

func (r *run) planOf() (p plan.Plan, err error) {
	p = plan.Plan{Verb: PlanVerb, DatasetDigest: r.ds.Digest(), Tasks: plan.ShardTasks(r.ds)}
	info, err := r.info()
	if err != nil {
		return p, err
	}
	if _, err := plannedCache(r.ds, info); err != nil {
		return p, err
	}
	p.Teacher = &info
	if p.Options, err = json.Marshal(planOptions{Half: r.o.Runtime.Half, TF32: r.o.Runtime.TF32, Decoder: imgcodec.DecoderName()}); err != nil {
		return p, err
	}
	if p.Dataset, err = filepath.Abs(r.o.Dataset); err != nil {
		return p, err
	}
	p.Model, err = filepath.Abs(r.o.Model)
	return p, err
}

// plannedCache is the cache that a plan is for, nil if there is none yet. If the name is taken
// by another cache it needs another plan: a plan never changes.
func plannedCache(ds *store.Dataset, info cache.Info) (*cache.Cache, error) {
	cache, err := cache.Find(ds, info)
	if errors.Is(err, store.ErrFingerprint) {
		return nil, fmt.Errorf("%w; make another plan with --name", err)
	}
	return cache, err
}

// Work does a worker's tasks of the plan in a folder, except what is in the cache or committed
// by a worker already. Dataset and Model of o, if set, are where these lie on this machine.
// All that the result depends on is taken from the plan.
//
// Errors are those of [Precompute] without [*RejectRateError], which is the merge's;
// store.ErrFingerprint if the model is not the plan's; store.ErrPlan if the dataset is not, or
// if the plan's folder has parts of another plan.
func Work(ctx context.Context, dir string, w worker.Worker, o Options) (Summary, error) {
	clock := startClock()
	p, o, err := readPlan(dir, o)
	if err != nil {
		return Summary{}, err
	}
	ds, err := openPlanned(o.Dataset, &p)
	if err != nil {
		return Summary{}, err
	}
	defer ds.Close()
	s, err := openPlanParts(ds, *p.Teacher, dir)
	if err != nil {
		return Summary{}, err
	}
	if err := sameDecoder(ds, p.Tasks, o.decoder); err != nil {
		return Summary{}, fmt.Errorf("plan %s: %w", dir, err)
	}
	models, err := openModels(ctx, o, ds)
	defer closeModels(models)
	if err != nil {
		return Summary{}, err
	}
	o.worker = w.String()
	r := &run{o: o, ds: ds, models: models, model: models[0], clock: clock}
	r.describe(r.inBatches())
	r.stages.Open = clock.seconds()
	if r.summary.Fingerprint != p.Teacher.Fingerprint {
		return r.summary, fmt.Errorf("%w: %s is not the model that plan %s was made with (%s, %.12s…): it has been replaced, or computes in another precision",
			store.ErrFingerprint, o.Model, dir, p.Teacher.ModelFile, p.Teacher.ModelDigest)
	}
	err = r.work(ctx, s, p.Tasks, w)
	err = r.recorded(func(record cache.Run) error {
		return cache.RecordRun(cache.RunsFolder(dir), r.summary.Fingerprint, record)
	}, err)
	r.account()
	return r.summary, stopping(err, keepsShards)
}

// work does those of the worker's tasks that nobody has done.
func (r *run) work(ctx context.Context, s *planParts, tasks []plan.Task, w worker.Worker) error {
	r.summary.Rows = 0
	var all, shards []int
	todo := 0
	for _, i := range w.Tasks(len(tasks)) {
		t := tasks[i]
		all = append(all, t.Shard)
		r.summary.Rows += t.Rows
		done, err := s.done(t.Shard)
		if err != nil {
			return err
		}
		if !done {
			shards = append(shards, t.Shard)
			todo += t.Rows
		}
	}
	r.summary.Reused = r.summary.Rows - todo
	if r.o.Progress != nil {
		fmt.Fprintf(r.o.Progress, "worker %v: %d of %d crops are to be embedded\n", w, todo, r.summary.Rows)
	}
	if len(r.o.Reuse) > 0 {
		if err := r.openDonors(s.info); err != nil {
			return err
		}
		defer r.closeDonors()
	}
	if err := r.embed(ctx, s.open, shards, todo); err != nil {
		return err
	}
	var err error
	r.summary.Invalid, err = s.invalid(all)
	return err
}

// readPlan reads a plan and sets the options that it has.
func readPlan(dir string, o Options) (plan.Plan, Options, error) {
	p, id, err := plan.Read(dir)
	if err != nil {
		return p, o, err
	}
	if err := checkVerb(dir, &p); err != nil {
		return p, o, err
	}
	var more planOptions
	var contract embed.Preprocess
	if err := errors.Join(json.Unmarshal(p.Options, &more), json.Unmarshal(p.Teacher.Preprocess, &contract)); err != nil {
		return p, o, fmt.Errorf("%w: plan %s: %w", store.ErrDamaged, dir, err)
	}
	o.Dataset, o.Model = cmp.Or(o.Dataset, p.Dataset), cmp.Or(o.Model, p.Model)
	o.Name, o.DType, o.Flip = p.Teacher.Name, p.Teacher.DType, p.Teacher.Flip
	o.contract, o.Runtime.Half, o.Runtime.TF32, o.plan = &contract, more.Half, more.TF32, id
	o.Output, o.norm, o.decoder = p.Teacher.Output, p.Teacher.NormOutput, more.Decoder
	return p, o, nil
}

// checkVerb refuses a plan of another verb.
func checkVerb(dir string, p *plan.Plan) error {
	if p.Verb != PlanVerb || p.Teacher == nil {
		return fmt.Errorf("plan %s is one of %s, not of %s", dir, p.Verb, PlanVerb)
	}
	return nil
}

func openPlanned(dir string, p *plan.Plan) (*store.Dataset, error) {
	ds, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := p.Fits(ds); err != nil {
		return nil, errors.Join(err, ds.Close())
	}
	return ds, nil
}
