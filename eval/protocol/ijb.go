package protocol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/eval/ijb"
	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
)

// IJB is the protocols of IJB-B and IJB-C: 1:1 of templates and, where there are galleries, 1:N.
// Loading it may also fail with [ijb.ErrFormat].
var IJB = Kind{
	Name: "ijb", About: "`folder` with IJB-B's or IJB-C's metadata, or above it",
	Help: `the folder IJBB or IJBC of insightface's release, with meta/ijbc_face_tid_mid.txt,
ijbc_name_5pts_score.txt, ijbc_template_pair_label.txt and, for 1:N, ijbc_1N_*.csv;
the dataset is ingested from its images first:
  pipe ingest --source folder=IJBC/loose_crop --landmarks IJBC/meta/ijbc_name_5pts_score.txt --out ijbc.ds
Templates are the mean within a media and the sum over medias. --ijb-norm keep is what
ijb_11.py and eval_ijbc.py call use_norm_score=True, and ijb_evals.py False.`,
	WholeSet: true,
	Load:     loadIJB,
}

// IJBOptions are the switches of [IJB].
type IJBOptions struct {
	// Norm is [ijb.NormKeep] or [ijb.NormUnit].
	Norm string
	// DetectorScore multiplies embeddings by the detector's scores of the metadata.
	DetectorScore bool
	// FARPick is [identification.PickNearest] or [identification.PickLE], and FPIRPick
	// [identification.OpenInsightFace] or [identification.OpenLE].
	FARPick, FPIRPick string
	// NoMatch counts comparisons of templates without a usable face as no match; without it they
	// are left out.
	NoMatch bool
}

// UsualIJB are the switches of published figures.
var UsualIJB = IJBOptions{Norm: ijb.NormKeep, DetectorScore: true, FARPick: identification.PickNearest, FPIRPick: identification.OpenInsightFace}

// What is told of IJB.
var (
	ijbFARs  = []float64{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1}
	ijbFPIRs = []float64{0.01, 0.1}
	ijbRanks = []int{1, 5, 10}
)

// templates is IJB's protocol on a set.
type templates struct {
	o           IJBOptions
	meta        *ijb.Meta
	pairs       *ijb.Pairs
	subjects    []int32
	galleries   []identification.Enrolment
	probes      identification.Enrolment
	notes       []string
	faces       []int
	faceOf      []int32 // by image, absent
	description Description
}

func loadIJB(ctx context.Context, set faces.Set, path string, o Options) (Protocol, error) {
	m, err := ijb.Open(path)
	if err != nil {
		return nil, err
	}
	t := &templates{o: o.IJB, meta: m, notes: m.Notes}
	if t.o == (IJBOptions{}) {
		t.o = UsualIJB
	}
	if err := t.switches().Check(m); err != nil {
		return nil, fmt.Errorf("IJB %s: %w", path, err)
	}
	if err := t.readComparisons(); err != nil {
		return nil, err
	}
	t.description = Description{Path: path, Digest: m.Files[0].Digest, Format: m.Set, Listed: t.pairs.Len(), Missing: []string{}}
	places, err := locate(ctx, set, &t.description, imagesNamed(m.Images), o.AllowMissing)
	if err != nil {
		return nil, err
	}
	t.faces, t.faceOf = numberFaces(places)
	t.describe()
	return t, nil
}

// readComparisons reads the pairs and the galleries.
func (t *templates) readComparisons() (err error) {
	if t.pairs, err = t.meta.Pairs(); err != nil {
		return err
	}
	galleries, probes, err := t.meta.Searches()
	if err != nil {
		return err
	}
	if len(galleries) == 0 {
		t.notes = append(t.notes, "1:N is not measured: no gallery is among the metadata")
	}
	in := map[int32]string{} // gallery by subject
	shared := 0
	for _, g := range galleries {
		t.galleries = append(t.galleries, t.enrolment(g))
		for _, s := range slices.Compact(slices.Sorted(slices.Values(g.Subjects))) {
			if in[s] != "" {
				shared++
			}
			in[s] = g.Name
		}
	}
	if shared > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d subjects are in several galleries: they are no strangers to the other one", shared))
	}
	t.probes = t.enrolment(probes)
	var notes []string
	t.subjects, notes = t.meta.Subjects(t.pairs, append(galleries, probes)...)
	t.notes = append(t.notes, notes...)
	return nil
}

func (t *templates) enrolment(e ijb.Enrolment) identification.Enrolment {
	if n := len(e.NoImages); n > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%d templates of %s have no image and were left out, the first %d", n, e.Name, e.NoImages[0]))
	}
	return identification.Enrolment{Name: e.Name, Rows: e.Templates, Subjects: e.Subjects}
}

func (t *templates) describe() {
	t.description.Used, t.description.Crops = t.pairs.Len(), len(t.faces)
	for _, note := range t.notes {
		t.description.Notes = append(t.description.Notes, Note{"IJB", note})
	}
}

func (t *templates) switches() ijb.Switches {
	return ijb.Switches{Norm: t.o.Norm, DetectorScore: t.o.DetectorScore}
}

// Faces are the images of all templates.
func (t *templates) Faces() []int { return t.faces }

// Persons are pairs of images of two templates of one subject.
func (t *templates) Persons(n int) (all [][2]int) {
	met := map[int32]bool{}
	for i, same := range t.pairs.Same {
		a, b := t.pairs.First[i], t.pairs.Second[i]
		if !same || met[t.subjects[a]] {
			continue
		}
		if x, y := t.face(a), t.face(b); x != absent && y != absent && x != y {
			met[t.subjects[a]] = true
			all = append(all, [2]int{x, y})
		}
		if len(all) == n {
			break
		}
	}
	return all
}

// face is the first of a template's faces that the set has.
func (t *templates) face(template int32) int {
	for image := range t.meta.ImagesOf(template) {
		if face := t.faceOf[image]; face != absent {
			return int(face)
		}
	}
	return absent
}

// Describe says what is compared.
func (t *templates) Describe() Description { return t.description }

// images are the embeddings of the metadata's images.
type images struct {
	Embeddings
	faceOf []int32
}

func (e images) Len() int { return len(e.faceOf) }

func (e images) Row(i int, dst []float32) (bool, error) {
	if e.faceOf[i] == absent {
		return false, nil
	}
	return e.Embeddings.Row(int(e.faceOf[i]), dst)
}

// Evaluate makes templates, compares them, and searches.
func (t *templates) Evaluate(ctx context.Context, e Embeddings, s Settings) (r Result, err error) {
	switches := t.switches()
	switches.Flip = s.Flip
	pooled, err := t.meta.Pool(ctx, images{e, t.faceOf}, switches)
	if err != nil {
		return r, err
	}
	found := &identification.Result{Protocol: IJB.Name, Set: t.meta.Set, Switches: switches.Describe(), Notes: t.lacking(pooled)}
	found.Switches["far_pick"], found.Switches["fpir_pick"] = t.o.FARPick, t.o.FPIRPick
	found.Switches["unusable_templates"] = "left out"
	if t.o.NoMatch {
		found.Switches["unusable_templates"] = "no match"
	}
	c := identification.Comparisons{First: t.pairs.First, Second: t.pairs.Second, Same: t.pairs.Same, Identities: t.subjects, NoMatch: t.o.NoMatch}
	scores, left, err := identification.Verify(ctx, pooled, c)
	if err != nil {
		return r, err
	}
	found.Counts = map[string]int64{
		"images": int64(len(t.meta.Images)), "faces_used": int64(pooled.Images), "faces_without_embedding": int64(pooled.WithoutImage),
		"templates": int64(pooled.Len()), "templates_without_face": int64(len(pooled.Unusable)),
		"pairs": int64(t.pairs.Len()), "mated_pairs": int64(t.pairs.Mated), "pairs_without_template": int64(left),
	}
	points, notes, err := identification.OperatingPoints(scores, ijbFARs, t.o.FARPick)
	if err != nil {
		return r, err
	}
	found.Verification, found.Notes = points, append(found.Notes, notes...)
	found.Searches, found.Mean, err = identification.Identify(ctx, pooled, t.galleries, t.probes,
		identification.SearchOptions{Ranks: ijbRanks, FPIRs: ijbFPIRs, Pick: t.o.FPIRPick})
	if err != nil {
		return r, err
	}
	for _, search := range found.Searches {
		found.Notes = append(found.Notes, search.Notes...)
	}
	r.Identification = found
	figures, err := s.Rule.Evaluate(scores, s.FAR)
	if errors.Is(err, verification.ErrTooFew) {
		found.Notes = append(found.Notes, fmt.Sprintf("AUC and EER are not measurable: %v", err))
		return r, nil
	}
	r.Verification, r.Scores = &figures, scores
	return r, err
}

// lacking names templates that have no usable face.
func (t *templates) lacking(pooled *ijb.Templates) (notes []string) {
	if len(pooled.Unusable) == 0 {
		return nil
	}
	var names []string
	for _, template := range pooled.Unusable {
		names = append(names, strconv.Itoa(int(t.meta.Templates[template])))
	}
	what := "their pairs were left out"
	if t.o.NoMatch {
		what = "their pairs count as no match"
	}
	return []string{fmt.Sprintf("%d of %d templates have no usable face, and %s: %s", len(names), pooled.Len(), what, FirstFew(names))}
}

// locate is the place in the set of every image of a list, absent where it has none. Guesses and
// what is missing go into the description; that something is missing is a [*MissingError] unless it
// may be.
func locate(ctx context.Context, set faces.Set, d *Description, listed []pairlist.Image, allowMissing bool) ([]int, error) {
	found, err := resolve(ctx, set, listed)
	if err != nil {
		return nil, err
	}
	d.Notes = append(d.Notes, found.notes...)
	d.Missing = append(d.Missing, found.missing...)
	if len(found.missing) == 0 {
		return found.places, nil
	}
	if allowMissing {
		d.Notes = append(d.Notes, Note{"Missing", fmt.Sprintf("%d of %d images are not in the set", len(found.missing), len(listed))})
		return found.places, nil
	}
	near, err := nearestKey(ctx, set, found.missing[0])
	if err != nil {
		return nil, err
	}
	return nil, &MissingError{
		List: d.Path, Dataset: set.Describe().Path, Images: found.missing, Named: len(listed),
		Nearest: near, Rivals: found.rivals, Notes: d.Notes,
	}
}

// numberFaces are the different places, ascending, and the number among them of each.
func numberFaces(places []int) (distinct []int, of []int32) {
	distinct = slices.Compact(slices.Sorted(slices.Values(places)))
	if len(distinct) > 0 && distinct[0] == absent {
		distinct = distinct[1:]
	}
	of = make([]int32, len(places))
	for i, place := range places {
		if of[i] = absent; place != absent {
			at, _ := slices.BinarySearchFunc(distinct, place, cmp.Compare[int])
			of[i] = int32(at)
		}
	}
	return distinct, of
}
