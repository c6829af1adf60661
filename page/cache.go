package page

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"facepipe/eval/plot"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/info"
)

// isCache is whether a path is a cache's folder in a dataset, or DATASET:NAME.
func isCache(path string) bool {
	_, _, ok := splitCache(path)
	return ok
}

// splitCache takes a path of a cache apart.
func splitCache(path string) (dataset, name string, ok bool) {
	if isFile(filepath.Join(path, "teacher.json")) {
		if whole, err := filepath.Abs(path); err == nil {
			above := filepath.Dir(whole)
			return filepath.Dir(above), filepath.Base(whole), filepath.Base(above) == store.TeachersFolder
		}
	}
	if _, err := os.Stat(path); err == nil { // what is there is no abbreviation
		return "", "", false
	}
	i := strings.LastIndexByte(path, ':')
	if i <= 0 || i+1 == len(path) || !store.IsDataset(path[:i]) {
		return "", "", false
	}
	return path[:i], path[i+1:], true
}

// opened is a cache that is being described.
type opened struct {
	*cache.Cache
	info   info.Cache
	others []string // the names of the dataset's other complete caches
	m      *maker
}

func cachePart(ctx context.Context, m *maker, path string) (p Part, err error) {
	dir, name, _ := splitCache(path)
	d, err := store.Open(dir)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	t, err := cache.Open(d, name)
	if err != nil {
		return p, err
	}
	c := opened{Cache: t, m: m}
	if err := c.look(dir, name); err != nil {
		return p, err
	}
	runs, err := t.Runs()
	if err != nil {
		return p, err
	}
	p = Part{
		Path: path, Title: name + " on " + filepath.Base(filepath.Clean(dir)), Answer: c.answer(), Warnings: c.warnings(runs),
		Data: map[string]any{"dataset": dir, "cache": c.info, "runs": runs},
	}
	for _, section := range []func() (Section, error){
		func() (Section, error) { return c.norms(ctx) },
		func() (Section, error) { return selfTests(runs), nil },
		func() (Section, error) { return m.agreement(ctx, dir, []string{name}, c.others) },
		func() (Section, error) { return runsTable(runs), nil },
		func() (Section, error) { return c.tables(), nil },
		func() (Section, error) { return c.facts(), nil },
	} {
		s, err := section()
		if err != nil {
			return p, err
		}
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p, nil
}

// look finds what is known of the cache and of those beside it.
func (c *opened) look(dir, name string) error {
	all, err := info.Caches(dir)
	if err != nil {
		return err
	}
	for _, one := range all {
		switch {
		case one.Name == name:
			c.info = one
		case one.MissingShards == 0 && len(c.others) < maxTeachers:
			c.others = append(c.others, one.Name)
		}
	}
	if c.info.MissingShards > 0 { // which nothing can be compared with
		c.others = nil
	}
	return nil
}

func (c *opened) answer() string {
	i, rows := c.info, c.Dataset().Rows()
	text := fmt.Sprintf("%s embedded %s of %s in %d dimensions (%s)", i.ModelFile, count(i.Rows), many(rows, "crop"), i.Dim, i.DType)
	if i.Flip {
		text += ", mirror images too"
	}
	if i.Invalid == 0 {
		return text + "; every embedding can be used."
	}
	return text + fmt.Sprintf("; %s cannot be used.", many(i.Invalid, "embedding"))
}

func (c *opened) warnings(runs []cache.Run) (list []string) {
	if c.info.MissingShards > 0 {
		list = append(list, fmt.Sprintf("%s in %s are still to be embedded: run precompute-teacher again to go on.", many(c.info.Missing, "crop"), many(c.info.MissingShards, "shard")))
	}
	for _, table := range []struct{ name, state string }{{"Class centres", c.info.Centres}, {"Neighbours", c.info.Neighbours}} {
		if table.state == "damaged" || table.state == "outdated" {
			list = append(list, table.name+" are "+table.state+"; they are derived anew when they are needed.")
		}
	}
	for _, r := range runs {
		if t := r.SelfTest; t != nil && t.Better != "" {
			list = append(list, fmt.Sprintf("The self-test of %s found %s better than %s, which was used.", r.Begun.UTC().Format(time.DateOnly), t.Better, t.Contract))
		}
		if r.Fallback {
			list = append(list, fmt.Sprintf("The run of %s may have done some of its work on the processor instead of %s.", r.Begun.UTC().Format(time.DateOnly), r.Provider))
		}
	}
	return list
}

// norms is a histogram of the lengths of embeddings, and the faces at its ends.
func (c *opened) norms(ctx context.Context) (s Section, err error) {
	d := c.Dataset()
	s = Section{ID: "norms", Title: "Norms", Lead: "The lengths of the embeddings before they are scaled."}
	norms, rows, err := c.readNorms(ctx)
	if err != nil || len(norms) == 0 {
		return s, err
	}
	order := make([]int, len(norms))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(norms[a], norms[b]) })
	ascending := make([]float64, len(norms))
	for i, o := range order {
		ascending[i] = norms[o]
	}
	median := quantile(ascending, 0.5)
	s.Blocks = []Block{{Charts: []Chart{bars(plot.Bars{
		Title: "norms of the embeddings", X: "norm", Bars: plot.Ranges(ascending, histogramBars), Mark: median, MarkLabel: "median " + brief(median),
	})}}}
	if len(norms) < c.info.Rows {
		s.Lead += fmt.Sprintf(" Of %s of the %s crops, spread evenly.", count(len(norms)), count(c.info.Rows))
	}
	const ends = 12 // faces at each end
	show := dataset{d, info.Info{}, c.m}
	for _, end := range []struct {
		title string
		of    []int
	}{{"Shortest", order[:min(ends, len(order))]}, {"Longest", order[max(0, len(order)-ends):]}} {
		at := make([]int, len(end.of))
		for i, o := range end.of {
			at[i] = rows[o]
		}
		faces, err := show.sheet(ctx, at, func(i int, _ store.Crop) string { return "norm " + brief(norms[end.of[i]]) })
		if err != nil {
			return s, err
		}
		s.Blocks = append(s.Blocks, Block{Title: end.title, Faces: faces})
	}
	return s, nil
}

// readNorms reads the norms of some rows, spread evenly, those that have a usable embedding.
func (c *opened) readNorms(ctx context.Context) (norms []float64, rows []int, err error) {
	d := c.Dataset()
	vector := make([]float32, c.info.Dim)
	var shard *cache.Shard
	number := -1
	defer func() {
		if shard != nil {
			err = errors.Join(err, shard.Close())
		}
	}()
	for _, row := range spread(d.Rows(), maxMeasured) {
		at := d.Locate(row)
		if !c.Has(int(at.Shard)) {
			continue
		}
		if int(at.Shard) != number {
			if shard != nil {
				if err := shard.Close(); err != nil {
					return nil, nil, err
				}
			}
			if shard, err = c.Shard(int(at.Shard)); err != nil {
				return nil, nil, err
			}
			number = int(at.Shard)
		}
		norm, valid, err := shard.Row(int(at.Row), false, vector)
		if err != nil {
			return nil, nil, err
		}
		if valid {
			norms, rows = append(norms, float64(norm)), append(rows, row)
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
	}
	return norms, rows, nil
}

// selfTests are what comparisons of preprocessings came to.
func selfTests(runs []cache.Run) Section {
	s := Section{ID: "self-test", Title: "Self-test", Lead: "Before a cache is filled, pairs of the dataset's own faces are embedded under the usual preprocessings."}
	t := &Table{Head: "Run", Columns: []Column{{Title: "used", Words: true}, {Title: "d′", Define: "separation"}, {Title: "AUC", Define: "auc"}, {Title: "crops"}, {Title: "better one", Words: true}}}
	for _, r := range runs {
		if v := r.SelfTest; v != nil {
			better := v.Better
			if better == "" {
				better = "none"
			}
			t.Rows = append(t.Rows, Row{Head: when(r), Cells: cells(v.Contract, number(v.Separation, 2), number(v.AUC, 4), count(v.Crops), better)})
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

func when(r cache.Run) string { return r.Begun.UTC().Format(time.DateTime) }

// runsTable says what filled the cache, and what it took.
func runsTable(runs []cache.Run) Section {
	s := Section{ID: "runs", Title: "Runs"}
	t := &Table{Head: "Begun (UTC)", Columns: []Column{
		{Title: "ended", Words: true}, {Title: "computed"}, {Title: "copied"}, {Title: "time"}, {Title: "crops/s"}, {Title: "provider", Words: true}, {Title: "lowest fp16 cosine", Define: "cosine"},
	}}
	for _, r := range runs {
		rate, drift := "–", "–"
		if r.Seconds > 0 {
			rate = number(float64(r.Computed)/r.Seconds, 0)
		}
		if r.Drift != nil {
			drift = number(r.Drift.MinCosine, 6)
		}
		provider := fmt.Sprintf("%s, ONNX Runtime %s", r.Provider, r.Runtime)
		t.Rows = append(t.Rows, Row{Head: when(r), Note: "pipe " + r.Pipe, Cells: cells(r.Ended, count(r.Computed), count(r.Copied), duration(r.Seconds), rate, provider, drift)})
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

// tables are what is derived from the cache.
func (c *opened) tables() Section {
	list := []Fact{
		{"Class centres", c.info.Centres + ", " + size(c.info.CentresBytes)},
		{"Neighbours", c.info.Neighbours + ", " + size(c.info.NeighboursBytes)},
	}
	if m := c.info.Classifier; m != nil {
		list = append(list, Fact{"Classifier", fmt.Sprintf("%s from %s", many(m.Rows, "class centre"), m.Origin)})
	}
	return Section{ID: "tables", Title: "Derived tables", Blocks: []Block{{Facts: list}}}
}

func (c *opened) facts() Section {
	i := c.info
	return Section{ID: "digests", Title: "Digests", Folded: true, Blocks: []Block{{Facts: facts(
		Fact{"Folder", c.Folder()}, Fact{"Model", i.ModelFile}, Fact{"Model's SHA-256", i.ModelDigest}, Fact{"Fingerprint", i.Fingerprint},
		Fact{"Preprocessing", strings.TrimSpace(string(i.Preprocess) + " " + i.PreprocessReason)}, Fact{"Output", i.Output}, Fact{"Norms are from", i.NormOutput},
		Fact{"Digest", i.Digest}, Fact{"Size", size(i.Bytes)},
	)}}}
}
