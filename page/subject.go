package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"facepipe/internal/regular"
	"facepipe/internal/release"
	"facepipe/internal/seal"
	"facepipe/store"
)

// ErrUnknown marks a path at which nothing lies that a page can be made of.
var ErrUnknown = errors.New("nothing to make a page of")

// Options say what a page is of.
type Options struct {
	// What are the paths of the subjects; a teacher's cache may be given as DATASET:NAME.
	What []string
	// Command is the command line, for the foot of the page; nil if nobody says.
	Command []string
	// Refresh is after how many seconds a browser is to ask again for what is still going
	// on; 0 for never.
	Refresh int
	// Agreement compares two teachers' caches of a dataset; nil leaves that out.
	Agreement func(ctx context.Context, dataset, a, b string) (Agreement, error)
}

// Agreement is how far two teachers agree on which crops are alike: rank correlations, -1 to
// 1, of their cosines over pairs of crops, and over those of one kind; nil where there are
// too few.
type Agreement struct {
	Pairs                int
	All, Same, Different *float64
}

// Kind is a kind of subject.
type Kind struct {
	// Name is the kind's, Lies what it is known by.
	Name, Lies string
	// at says whether a subject of the kind lies at a path.
	at func(path string) bool
	// parts describe those that were found, in their order.
	parts func(ctx context.Context, m *maker, paths []string) ([]Part, error)
}

// Kinds are all kinds, in the order of a page.
func Kinds() []Kind {
	return []Kind{
		{"eval", "an eval's report.json, or its folder", isEval, evalParts},
		{"study", "a study's folder, with table.json", isStudy, each(studyPart)},
		{"run", "a run's folder, with run.json", isRun, each(runPart)},
		{"cache", "a teacher's cache, as its folder or as DATASET:NAME", isCache, each(cachePart)},
		{"dataset", "a dataset, with dataset.json", store.IsDataset, each(datasetPart)},
	}
}

// maker is what the parts of one page share.
type maker struct {
	Options
	album *album
}

// each describes the subjects of a kind one by one.
func each(part func(context.Context, *maker, string) (Part, error)) func(context.Context, *maker, []string) ([]Part, error) {
	return func(ctx context.Context, m *maker, paths []string) (parts []Part, err error) {
		for _, path := range paths {
			p, err := part(ctx, m, path)
			if err != nil {
				return nil, err
			}
			parts = append(parts, p)
		}
		return parts, nil
	}
}

// Make describes what lies at the paths, those of one kind together. A path of no kind is
// [ErrUnknown], which says what was looked for; what is damaged is [store.ErrDamaged].
func Make(ctx context.Context, o Options) (Page, error) {
	found, err := sorted(o.What)
	if err != nil {
		return Page{}, err
	}
	m := &maker{Options: o, album: newAlbum()}
	p := Page{Command: quoted(o.Command), Pipe: release.Name + " " + release.Version}
	for _, k := range Kinds() {
		if len(found[k.Name]) == 0 {
			continue
		}
		parts, err := k.parts(ctx, m, found[k.Name])
		if err != nil {
			return Page{}, fmt.Errorf("report on the %s: %w", k.Name, err)
		}
		for i := range parts {
			parts[i].Kind = k.Name
			if parts[i].Live {
				p.Refresh = o.Refresh
			}
		}
		p.Parts = append(p.Parts, parts...)
	}
	p.Title = p.Parts[0].Title
	if n := len(p.Parts); n > 1 {
		p.Title += fmt.Sprintf(" and %d more", n-1)
	}
	return p, nil
}

// sorted are the paths by the kinds of what lies there. A folder may be of two kinds: an eval
// that was written into a run's.
func sorted(paths []string) (map[string][]string, error) {
	if len(paths) == 0 {
		return nil, fmt.Errorf("%w: no path was given", ErrUnknown)
	}
	found := map[string][]string{}
	for _, path := range paths {
		kinds, err := kindsOf(path)
		if err != nil {
			return nil, err
		}
		for _, k := range kinds {
			found[k.Name] = append(found[k.Name], path)
		}
	}
	return found, nil
}

func kindsOf(path string) (kinds []Kind, err error) {
	var looked []string
	for _, k := range Kinds() {
		if k.at(path) {
			kinds = append(kinds, k)
		}
		looked = append(looked, k.Lies)
	}
	if len(kinds) > 0 {
		return kinds, nil
	}
	why := ""
	if _, err := os.Stat(path); err != nil {
		why = ": " + err.Error()
	}
	return nil, fmt.Errorf("%w at %s%s; looked for %s", ErrUnknown, path, why, strings.Join(looked, "; "))
}

// lies is whether something lies at a path. What it is, whoever reads it says.
func lies(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// isFile is whether a file is at a path.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// maxFile is the longest file that is read whole.
const maxFile = 64 << 20

// readFile reads a file of a folder of pipe's, of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	return asDamage(regular.ReadOwn(path, limit))
}

// asDamage makes damage of what stands in the place of a file, and cannot be one of pipe's.
func asDamage[T any](read T, err error) (T, error) {
	if errors.Is(err, regular.ErrIrregular) || errors.Is(err, regular.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return read, err
}

// readJSON decodes a file that pipe wrote. One that does not decode, or not match its seal, is
// [store.ErrDamaged].
func readJSON(path string, into any) error {
	data, err := readFile(path, maxFile)
	if err != nil {
		return err
	}
	if err = seal.VerifyAny(data); err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w; make it anew, or take another copy", store.ErrDamaged, path, err)
	}
	return nil
}
