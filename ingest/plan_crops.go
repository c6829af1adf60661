package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"facepipe/store"
	"facepipe/store/plan"
)

// planCrops gives the crops that the workers of a plan have made of each item. All workers of
// a run use it at once.
type planCrops struct {
	ctx      context.Context // of the merge
	tasks    []plan.Task
	folder   string            // of the plan
	progress io.Writer         // gets the bar
	output   *store.PlanOutput // what the dataset was when the plan was made; nil for anything

	mu   sync.Mutex
	open []*part // the last used is the last
}

// maxOpenParts is how many parts stay open. Items come in order, so a run seldom needs more
// than two at once.
const maxOpenParts = 4

// part is the dataset that a worker has made of one task.
type part struct {
	number  int
	dataset *store.Dataset
	crops   *store.CropReader
	rejects map[rejected]store.Reject
	stamps  map[rejected]store.Stamp
	users   int
}

// rejected is an input, refused or not: two sources may have one key.
type rejected struct {
	source int
	key    string
}

// faces are those of item n, which has a source and a key, and the stamp of the file that they
// were made of. The main face is the last, as [cropper.crops] returns them.
func (p *planCrops) faces(n, source int, key string, all bool, stamp *store.Stamp) ([]candidate, error) {
	part, err := p.use(n)
	if err != nil {
		return nil, err
	}
	defer p.release(part)
	*stamp = part.stamps[rejected{source, key}]
	var faces []candidate
	for further := 1; all; further++ {
		c, found, err := part.face(source, furtherKey(key, further))
		if err != nil {
			return nil, err
		}
		if !found {
			break
		}
		faces = append(faces, c)
	}
	c, found, err := part.face(source, key)
	if err == nil && !found {
		err = fmt.Errorf("%w: part %d does not know item %d, %q", store.ErrPlan, part.number, n, key)
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
	// The key of a duplicate leads to another item's crop of the same pixels. What is not
	// pixels is the item's own and comes from its source.
	crop.Identity, crop.Split, crop.Attributes = "", "", ""
	c.crop = crop
	return c, true, nil
}

// use is the open part that has an item.
func (p *planCrops) use(n int) (*part, error) {
	number, _ := slices.BinarySearchFunc(p.tasks, n, func(t plan.Task, n int) int {
		if t.From+t.Rows <= n {
			return -1
		}
		return 1
	})
	if number == len(p.tasks) {
		return nil, fmt.Errorf("%w: item %d is of no task", store.ErrPlan, n)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.open, func(o *part) bool { return o.number == number }); i >= 0 {
		p.open[i].users++
		return p.open[i], nil
	}
	opened, err := openPart(p.ctx, partDataset(p.folder, number), number)
	if err != nil {
		return nil, err
	}
	opened.users++
	p.open = append(p.open, opened)
	return opened, p.shrink()
}

// shrink closes parts that nobody uses, the oldest first.
func (p *planCrops) shrink() error {
	for i := 0; len(p.open) > maxOpenParts && i < len(p.open); {
		if p.open[i].users > 0 {
			i++
			continue
		}
		unused := p.open[i]
		p.open = slices.Delete(p.open, i, i+1)
		if err := unused.close(); err != nil {
			return err
		}
	}
	return nil
}

func (p *planCrops) release(used *part) {
	p.mu.Lock()
	defer p.mu.Unlock()
	used.users--
}

func (p *planCrops) close() error {
	var err error
	for _, o := range p.open {
		err = errors.Join(err, o.close())
	}
	p.open = nil
	return err
}

func openPart(ctx context.Context, dir string, number int) (*part, error) {
	d, err := store.Open(dir, store.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	p := &part{number: number, dataset: d, crops: d.CropReader(), rejects: map[rejected]store.Reject{}, stamps: map[rejected]store.Stamp{}}
	err = d.EachReject(func(r store.Reject) error {
		p.rejects[rejected{r.Source, r.Key}] = r
		return nil
	})
	if err == nil {
		err = d.EachInput(func(source int, key string, s store.Stamp) { p.stamps[rejected{source, strings.Clone(key)}] = s })
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *part) close() error { return errors.Join(p.crops.Close(), p.dataset.Close()) }
