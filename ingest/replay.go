package ingest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"facepipe/store"
	"facepipe/store/plan"
)

// replay gives back what the workers of a plan made of each item. It is used by all
// workers of a run at once.
type replay struct {
	tasks  []plan.Task
	folder string            // of the plan
	output *store.PlanOutput // what the dataset was then; nil for anything

	mu   sync.Mutex
	open []*part // the last used is the last
}

// openParts is how many parts stay open: items come in order, and a run is not further
// ahead in one place than the other by more than two.
const openParts = 4

// part is the dataset of one task.
type part struct {
	number  int
	dataset *store.Dataset
	crops   *store.CropReader
	rejects map[rejected]store.Reject
	users   int
}

// rejected is an input that was refused: two sources may have one key.
type rejected struct {
	source int
	key    string
}

// faces are those of item number n, of a source, which has a key: the main face last, as
// [cropper.crops] returns them.
func (r *replay) faces(n, source int, key string, all bool) ([]candidate, error) {
	p, err := r.use(n)
	if err != nil {
		return nil, err
	}
	defer r.release(p)
	var faces []candidate
	for further := 1; all; further++ {
		c, found, err := p.face(source, furtherKey(key, further))
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		faces = append(faces, c)
	}
	c, found, err := p.face(source, key)
	if err == nil && !found {
		err = fmt.Errorf("%w: part %d does not know item %d, %q", store.ErrPlan, p.number, n, key)
	}
	return append(faces, c), err
}

// face is what became of a source's key.
func (p *part) face(source int, key string) (c candidate, found bool, err error) {
	if reject, ok := p.rejects[rejected{source, key}]; ok {
		c.refused = refuse(reject.Stage, errors.New(reject.Reason))
		return c, true, nil
	}
	at, err := p.dataset.Lookup(key)
	if errors.Is(err, store.ErrNotFound) {
		return c, false, nil
	}
	if err != nil {
		return c, false, err
	}
	crop, err := p.crops.Crop(at)
	if err != nil {
		return c, false, err
	}
	// The part may be closed before its crops are written.
	crop.Image = slices.Clone(crop.Image)
	// A duplicate's key leads to the crop that has its pixels; these are the item's matter.
	crop.Identity, crop.Split, crop.Attributes = "", "", ""
	c.crop = crop
	return c, true, nil
}

// use is the open part that has an item.
func (r *replay) use(n int) (*part, error) {
	number, _ := slices.BinarySearchFunc(r.tasks, n, func(t plan.Task, n int) int {
		if t.From+t.Rows <= n {
			return -1
		}
		return 1
	})
	if number == len(r.tasks) {
		return nil, fmt.Errorf("%w: item %d is of no task", store.ErrPlan, n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.open, func(p *part) bool { return p.number == number }); i >= 0 {
		p := r.open[i]
		p.users++
		return p, nil
	}
	p, err := openPart(partDataset(r.folder, number), number)
	if err != nil {
		return nil, err
	}
	p.users++
	r.open = append(r.open, p)
	return p, r.shrink()
}

// shrink closes parts that nobody uses, the oldest first.
func (r *replay) shrink() error {
	for i := 0; len(r.open) > openParts && i < len(r.open); {
		if r.open[i].users > 0 {
			i++
			continue
		}
		p := r.open[i]
		r.open = slices.Delete(r.open, i, i+1)
		if err := p.close(); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) release(p *part) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.users--
}

func (r *replay) close() error {
	var err error
	for _, p := range r.open {
		err = errors.Join(err, p.close())
	}
	r.open = nil
	return err
}

func openPart(dir string, number int) (*part, error) {
	d, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	p := &part{number: number, dataset: d, crops: d.CropReader(), rejects: map[rejected]store.Reject{}}
	err = d.EachReject(func(r store.Reject) error {
		p.rejects[rejected{r.Source, r.Key}] = r
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *part) close() error { return errors.Join(p.crops.Close(), p.dataset.Close()) }
