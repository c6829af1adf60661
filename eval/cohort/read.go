package cohort

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"facepipe/eval/faces"
	"facepipe/internal/strictyaml"
	"facepipe/store"
	"facepipe/store/cache"
)

// Norm is the measure that needs a teacher's cache.
const Norm = "norm"

// measures are what a dataset may have measured of a face, by name.
func measures() map[string]func(c *store.Crop) float32 {
	of := func(value func(q *store.Quality) float32) func(c *store.Crop) float32 {
		return func(c *store.Crop) float32 {
			if !c.HasQuality {
				return float32(math.NaN())
			}
			return value(&c.Quality)
		}
	}
	return map[string]func(c *store.Crop) float32{
		"yaw":       of(func(q *store.Quality) float32 { return q.Yaw }),
		"pitch":     of(func(q *store.Quality) float32 { return q.Pitch }),
		"roll":      of(func(q *store.Quality) float32 { return q.Roll }),
		"sharpness": of(func(q *store.Quality) float32 { return q.Sharpness }),
		"face_size": of(func(q *store.Quality) float32 { return q.FaceSize }),
		"score": func(c *store.Crop) float32 {
			if c.Score == 0 {
				return float32(math.NaN()) // no detector
			}
			return c.Score
		},
	}
}

// plain is a column's name as it is compared: case, spaces, dashes, dots and underscores do not
// count, as in manifests.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -._", r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// columns are what is known of some faces.
type columns struct {
	measured   map[string][]float64
	attributes map[string][]string // nil for names that are not asked for
}

// Read makes groups of the faces at some places of a set. norms are the lengths of a teacher's
// embeddings of them, NaN where there is none, for the measure [Norm]; see [Norms]. A column
// that is not there, with too many values, or that says nothing of the faces is an error, which
// names the remedy.
//
// Measures, and attributes that are numbers, are cut at the specification's edges or into
// quantiles; an attribute of up to ten different numbers is a code, such as 0 and 1 for a sex, and
// its values are taken as they are unless edges are given. A note says so.
func Read(ctx context.Context, set faces.Set, places []int, s Spec, norms []float64) (*Groups, error) {
	c, err := readColumns(ctx, set, places, plain(bare(s.Column)))
	if err != nil {
		return nil, err
	}
	if norms != nil {
		if len(norms) != len(places) {
			return nil, fmt.Errorf("cohort: %d norms of %d faces", len(norms), len(places))
		}
		c.measured[Norm] = norms
	}
	name, isMeasure, err := c.find(s.Column)
	if err != nil {
		return nil, fmt.Errorf("cohort %s of %s: %w", s.Column, set.Describe().Path, err)
	}
	if isMeasure {
		if s.Top > 0 {
			return nil, fmt.Errorf("cohort: %s is a measure, which has no most frequent values: cut it at edges or quantiles", name)
		}
		return cutNumbers(name, c.measured[name], s)
	}
	return cutAttribute(name, c.attributes[name], s)
}

// readColumns reads the measures of the faces, and the attributes whose plain name is asked for;
// of others it keeps the names.
func readColumns(ctx context.Context, set faces.Set, places []int, asked string) (*columns, error) {
	c := &columns{measured: map[string][]float64{}, attributes: map[string][]string{}}
	of := measures()
	for name := range of {
		c.measured[name] = make([]float64, len(places))
	}
	for i, place := range places {
		if i%(1<<10) == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		head, err := set.Head(place)
		if err != nil {
			return nil, err
		}
		for name, value := range of {
			c.measured[name][i] = float64(value(&head))
		}
		if head.Attributes == "" {
			continue
		}
		var attributes map[string]string
		if err := json.Unmarshal([]byte(head.Attributes), &attributes); err != nil {
			return nil, fmt.Errorf("cohort: the attributes of %s: %w", head.Key, err)
		}
		for name, value := range attributes {
			column, known := c.attributes[name]
			if wanted := plain(name) == asked; !wanted && !known && len(c.attributes) < maxColumns {
				c.attributes[name] = nil
			} else if wanted {
				if column == nil {
					column = make([]string, len(places))
				}
				column[i] = strings.TrimSpace(value)
				c.attributes[name] = column
			}
		}
	}
	return c, nil
}

// maxColumns are the names that are kept of other columns.
const maxColumns = 256

// Prefixes that tell attributes from measures.
const (
	fromAttributes = "attributes."
	fromMeasures   = "measured."
)

// bare is a name without the prefix.
func bare(asked string) string {
	return strings.TrimPrefix(strings.TrimPrefix(asked, fromAttributes), fromMeasures)
}

// find is the column that a name means.
func (c *columns) find(asked string) (name string, isMeasure bool, err error) {
	attribute, others := match(bare(asked), slices.Collect(maps.Keys(c.attributes)))
	measure, _ := match(bare(asked), slices.Collect(maps.Keys(c.measured)))
	if strings.HasPrefix(asked, fromAttributes) {
		measure = ""
	}
	if strings.HasPrefix(asked, fromMeasures) {
		attribute, others = "", nil
	}
	switch {
	case len(others) > 1:
		return "", false, fmt.Errorf("the columns %s are alike but for case and marks: write the one that is meant as it is", strings.Join(others, ", "))
	case attribute != "" && measure != "":
		return "", false, fmt.Errorf("both an attribute and a measure have that name: write %s%s or %s%s", fromAttributes, attribute, fromMeasures, measure)
	case attribute != "":
		return attribute, false, nil
	case measure != "":
		return measure, true, nil
	case plain(bare(asked)) == Norm:
		return "", false, errors.New("the length of embeddings needs a teacher's cache of the dataset: name one")
	}
	return "", false, c.missing(bare(asked))
}

// match is the name that is meant: as it stands, or else the only one that is like it.
func match(asked string, names []string) (name string, alike []string) {
	if slices.Contains(names, asked) {
		return asked, nil
	}
	for _, n := range names {
		if plain(n) == plain(asked) {
			alike = append(alike, n)
		}
	}
	slices.Sort(alike)
	if len(alike) == 1 {
		return alike[0], nil
	}
	return "", alike
}

// missing says which columns there are, and which may be meant.
func (c *columns) missing(asked string) error {
	attributes := slices.Sorted(maps.Keys(c.attributes))
	measured := slices.Sorted(maps.Keys(c.measured))
	if !slices.Contains(measured, Norm) {
		measured = append(measured, Norm)
	}
	text := "the faces have no attributes (docs/manifest.md says how to give some)"
	if len(attributes) > 0 {
		const few = 30
		more := ""
		if len(attributes) > few {
			more = fmt.Sprintf(" and %d others", len(attributes)-few)
		}
		text = "the attributes are " + strings.Join(attributes[:min(few, len(attributes))], ", ") + more
	}
	near, best := "", 3
	for _, name := range slices.Concat(attributes, measured) {
		if d := strictyaml.Distance(plain(asked), plain(name)); d < best {
			near, best = "; did you mean "+name+"?", d
		}
	}
	return fmt.Errorf("there is no such column: %s, the measures are %s%s", text, strings.Join(measured, ", "), near)
}

// maxCodes is how many different numbers a code has at most.
const maxCodes = 10

// cutAttribute makes groups of an attribute.
func cutAttribute(name string, values []string, s Spec) (*Groups, error) {
	numbers := make([]float64, len(values))
	different := map[float64]bool{}
	all := true
	for i, v := range values {
		numbers[i] = math.NaN()
		if v == "" {
			continue
		}
		n, ok := number(v)
		if all = all && ok; !ok {
			if s.Edges != nil || s.Quantiles > 0 {
				return nil, fmt.Errorf("cohort: the column %s is not of numbers alone (%q): it cannot be cut at edges or quantiles", name, v)
			}
			break
		}
		numbers[i] = n
		different[n] = true
	}
	switch {
	case !all || s.Top > 0:
		return cutTexts(name, values, s)
	case s.Edges == nil && s.Quantiles == 0 && len(different) <= maxCodes:
		g, err := cutTexts(name, values, s)
		if err == nil {
			g.Notes = append(g.Notes, fmt.Sprintf("column %s has %d different numbers, which are taken as they are; edges would cut them", name, len(different)))
		}
		return g, err
	}
	return cutNumbers(name, numbers, s)
}

// Norms are the lengths of a teacher's embeddings of the crops in some rows of a dataset, NaN
// where it gave none of use. Errors: [store.ErrNotFound], [store.ErrDamaged].
func Norms(ds *store.Dataset, teacher string, rows []int) (norms []float64, err error) {
	kept, err := cache.Open(ds, teacher)
	if err != nil {
		return nil, err
	}
	shards := make([]*cache.Shard, ds.Shards())
	defer func() {
		for _, s := range shards {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
	}()
	scratch := make([]float32, kept.Info().Dim)
	for _, row := range rows {
		at := ds.Locate(row)
		if shards[at.Shard] == nil {
			if !kept.Has(int(at.Shard)) {
				return nil, fmt.Errorf("teacher %s of %s lacks shards: run precompute-teacher again", teacher, ds.Dir())
			}
			if shards[at.Shard], err = kept.Shard(int(at.Shard)); err != nil {
				return nil, err
			}
		}
		norm, ok, err := shards[at.Shard].Row(int(at.Row), false, scratch)
		if err != nil {
			return nil, err
		}
		if norms = append(norms, float64(norm)); !ok {
			norms[len(norms)-1] = math.NaN()
		}
	}
	return norms, nil
}
