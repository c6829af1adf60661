package protocol

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/internal/filedigest"
	"facepipe/internal/nearest"
	"facepipe/internal/regular"
)

// MegaFace looks for probes among distractors.
var MegaFace = Kind{
	Name: "megaface", About: "`folder` with MegaFace's lists",
	Help: `a folder with facescrub_lst, the probes as PERSON/IMAGE, a line each, and perhaps
megaface_lst, the distractors (without it: all other crops of the dataset), and
facescrub_noises.txt, megaface_noises.txt: images to leave out, by the end of their paths.
The dataset holds both: ingest probes and distractors into one.`,
	WholeSet: true,
	Load:     loadMegaFace,
}

// Files of [MegaFace].
const (
	probesList       = "facescrub_lst"
	distractorsList  = "megaface_lst"
	probesNoise      = "facescrub_noises.txt"
	distractorsNoise = "megaface_noises.txt"
)

// What is told of MegaFace. Its smaller sets of distractors are drawn with the seed.
var (
	megaFaceFARs  = []float64{1e-6, 1e-5, 1e-4, LargestFAR}
	megaFaceSizes = []int{10, 100, 1000, 10_000, 100_000, 1_000_000}
)

const megaFaceSeed = 1

// field is probes and distractors in a set.
type field struct {
	faces       []int
	probes      []int32 // of faces
	labels      []int32 // of probes
	distractors []int32 // of faces
	description Description
}

func loadMegaFace(ctx context.Context, set faces.Set, dir string, o Options) (p Protocol, err error) {
	f := &field{description: Description{Path: dir, Format: "megaface", Missing: []string{}}}
	list := filepath.Join(dir, probesList)
	if f.description.Digest, err = filedigest.Of(list); err != nil {
		return nil, err
	}
	probes, err := f.names(dir, probesList, probesNoise)
	if err != nil {
		return nil, err
	}
	if len(probes) == 0 {
		return nil, fmt.Errorf("%s names no probe", list)
	}
	for _, name := range probes {
		if personOf(name) == "" {
			return nil, fmt.Errorf("%s: %q is in no folder that names the person, want PERSON/IMAGE", list, name)
		}
	}
	places, err := locate(ctx, set, &f.description, imagesNamed(probes), o.AllowMissing)
	if err != nil {
		return nil, err
	}
	others, err := f.others(ctx, set, dir, places, o)
	if err != nil {
		return nil, err
	}
	if err := f.number(set, list, probes, places, others); err != nil {
		return nil, err
	}
	f.description.Used, f.description.Crops = len(f.probes)*len(f.distractors), len(f.faces)
	f.description.Listed = f.description.Used
	return f, nil
}

// names are those of a list without those of a list of noise, which need not be there.
func (f *field) names(dir, list, noise string) ([]string, error) {
	names, err := readNames(filepath.Join(dir, list))
	if err != nil {
		return nil, err
	}
	noises, err := readNames(filepath.Join(dir, noise))
	if errors.Is(err, fs.ErrNotExist) {
		f.note("Noise", "%s is not there: no image of %s is left out", filepath.Join(dir, noise), list)
		return names, nil
	}
	if err != nil {
		return nil, err
	}
	kept, used := withoutEnds(names, noises)
	f.note("Noise", "%d of %d images of %s are left out by %s", len(names)-len(kept), len(names), list, noise)
	if used < len(noises) {
		f.note("Noise", "%d of %d lines of %s name no image of %s", len(noises)-used, len(noises), noise, list)
	}
	return kept, nil
}

// withoutEnds are the names that end, at a folder's border, with none of some ends; used is how
// many of the ends were met.
func withoutEnds(names, ends []string) (kept []string, used int) {
	met := make(map[string]bool, len(ends))
	for _, end := range ends {
		met[end] = false
	}
	for _, name := range names {
		out := false
		for rest, more := name, true; more; _, rest, more = strings.Cut(rest, "/") {
			if _, ok := met[rest]; ok {
				met[rest], out = true, true
			}
		}
		if !out {
			kept = append(kept, name)
		}
	}
	for _, end := range ends {
		if met[end] {
			used++
		}
	}
	return kept, used
}

// others are the places of the distractors.
func (f *field) others(ctx context.Context, set faces.Set, dir string, probes []int, o Options) (others []int, err error) {
	names, err := f.names(dir, distractorsList, distractorsNoise)
	if err == nil {
		return locate(ctx, set, &f.description, imagesNamed(names), o.AllowMissing)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	isProbe := map[int]bool{}
	for _, place := range probes {
		isProbe[place] = true
	}
	for place := range set.Len() {
		if !isProbe[place] {
			others = append(others, place)
		}
	}
	f.note("Distractors", "%s is not there: all %d crops that are no probes are distractors", filepath.Join(dir, distractorsList), len(others))
	return others, nil
}

// number takes up probes, by whom their folders name, and distractors that are none of them.
func (f *field) number(set faces.Set, list string, names []string, probes, others []int) error {
	all, of := numberFaces(append(append([]int{}, probes...), others...))
	f.faces = all
	people := map[string]int32{}
	owner := map[int32]int32{} // person by face
	repeated := 0
	for i, name := range names {
		folder, face := personOf(name), of[i]
		if face == absent {
			continue
		}
		person, known := people[folder]
		if !known {
			person = int32(len(people))
			people[folder] = person
		}
		if before, met := owner[face]; met {
			if repeated++; before != person {
				return fmt.Errorf("%s: %q is the same image as one of another person", list, name)
			}
			continue
		}
		owner[face] = person
		f.probes, f.labels = append(f.probes, face), append(f.labels, person)
	}
	overlap := 0
	met := map[int32]bool{}
	for _, face := range of[len(names):] {
		if _, isProbe := owner[face]; isProbe {
			overlap++
		} else if face != absent && !met[face] {
			met[face] = true
			f.distractors = append(f.distractors, face)
		}
	}
	if repeated > 0 {
		f.note("Repeated", "%d probes are the same image as another one and were left out", repeated)
	}
	if overlap > 0 {
		f.note("Overlap", "%d distractors are probes, too, and were left out", overlap)
	}
	if len(f.probes) == 0 || len(f.distractors) == 0 {
		return fmt.Errorf("%s: %s has %d of its probes, and %d distractors", list, set.Describe().Path, len(f.probes), len(f.distractors))
	}
	return nil
}

// personOf is the folder that a probe is in, "" without one.
func personOf(name string) string {
	folder := path.Base(path.Dir(name))
	if folder == "." || folder == "/" {
		return ""
	}
	return folder
}

// note adds to what readers of a figure should know.
func (f *field) note(about, format string, args ...any) {
	f.description.Notes = append(f.description.Notes, Note{about, fmt.Sprintf(format, args...)})
}

// Faces are probes and distractors.
func (f *field) Faces() []int { return f.faces }

// Persons are two probes of some persons.
func (f *field) Persons(n int) [][2]int {
	all := persons(f.labels, n)
	for i, pair := range all {
		all[i] = [2]int{int(f.probes[pair[0]]), int(f.probes[pair[1]])}
	}
	return all
}

// Evaluate looks for the probes among the distractors.
func (f *field) Evaluate(ctx context.Context, e Embeddings, s Settings) (Result, error) {
	found, err := identification.Distractors(ctx, nearest.Part[int32]{Vectors: e, Places: f.probes}, f.labels, nearest.Part[int32]{Vectors: e, Places: f.distractors}, identification.DistractorOptions{
		PairOptions: identification.PairOptions{Targets: targets(s.FAR, megaFaceFARs), Progress: s.Progress},
		Sizes:       megaFaceSizes, Seed: megaFaceSeed,
	})
	if err != nil {
		return Result{}, err
	}
	found.Set = f.description.Path
	return Result{Identification: &found}, nil
}

// Describe says what is compared.
func (f *field) Describe() Description { return f.description }

// maxName is the longest line of a list of names.
const maxName = 16 << 10

// maxNames is the longest list of names, in bytes: the whole of MegaFace's has a hundred million.
const maxNames = 4 << 30

// readNames reads a list of images, a line each: the last of columns that tabs separate. Lines that
// begin with # are comments.
func readNames(path string) (names []string, err error) {
	file, err := regular.OpenUpTo(path, maxNames)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewScanner(file)
	in.Buffer(nil, maxName)
	for in.Scan() {
		line := strings.TrimSpace(strings.TrimPrefix(in.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, last, tab := strings.Cut(line, "\t"); tab {
			line = strings.TrimSpace(last)
		}
		names = append(names, line)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read list %s: %w", path, err)
	}
	return names, nil
}
