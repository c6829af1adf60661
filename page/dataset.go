package page

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/eval/plot"
	"facepipe/internal/imgcodec"
	"facepipe/store"
	"facepipe/store/info"
)

// Of a dataset so many crops are measured and shown, and so many rejects of a reason, spread
// evenly: a page's size does not grow with it, nor does the time to make it, but for counting.
const (
	maxMeasured    = 20_000
	maxSheet       = 60
	maxRejectsEach = 6
	maxReasons     = 12
	histogramBars  = 40
)

// dataset is one that is being described.
type dataset struct {
	*store.Dataset
	info info.Info
	m    *maker
}

func datasetPart(ctx context.Context, m *maker, path string) (p Part, err error) {
	about, err := info.Read(ctx, path)
	if err != nil {
		return p, err
	}
	opened, err := store.Open(path)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, opened.Close()) }()
	d := dataset{opened, about, m}
	p = Part{Path: path, Title: filepath.Base(filepath.Clean(path)), Answer: d.answer(), Warnings: d.warnings(), Data: about}
	for _, section := range []func(context.Context) (Section, error){
		d.faces, d.identities, d.measures, d.splits, d.sources, d.rejects, d.teachers, d.agreement, d.facts,
	} {
		s, err := section(ctx)
		if err != nil {
			return p, err
		}
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p, nil
}

func (d dataset) answer() string {
	i := d.info
	text := many(i.Rows, "crop")
	if i.Identities.Count > 0 {
		text += " of " + many(i.Identities.Count, "identity")
	}
	text += fmt.Sprintf(", %d × %d pixels, from %s", i.Contract.CropSize, i.Contract.CropSize, many(len(i.Sources), "source"))
	if n := len(i.Teachers); n > 0 {
		text += "; " + many(n, "teacher") + " cached"
	}
	return text + "."
}

func (d dataset) warnings() (list []string) {
	i := d.info
	rejects := 0
	for _, s := range i.Rejects {
		rejects += s.Count
	}
	if met := i.Rows + i.Duplicates + rejects; 20*rejects > met {
		list = append(list, fmt.Sprintf("%s of %s were rejected (%s).", count(rejects), many(met, "input"), percent(float64(rejects)/float64(met), 1)))
	}
	if n := i.Identities; n.Count > 0 && n.Nameless > 0 {
		list = append(list, many(n.Nameless, "crop")+" have no identity.")
	}
	for _, t := range i.Teachers {
		if t.MissingShards > 0 {
			list = append(list, fmt.Sprintf("The cache of %s lacks %s: run precompute-teacher again to go on.", t.Name, many(t.Missing, "crop")))
		}
	}
	return list
}

// faces are a contact sheet.
func (d dataset) faces(ctx context.Context) (Section, error) {
	rows := spread(d.Rows(), maxSheet)
	s := Section{ID: "faces", Title: "Faces", Lead: fmt.Sprintf("%s of %s, spread evenly.", many(len(rows), "crop"), count(d.Rows()))}
	faces, err := d.sheet(ctx, rows, func(_ int, c store.Crop) string { return c.Identity })
	if err == nil && len(faces) > 0 {
		s.Blocks = []Block{{Faces: faces}}
	}
	return s, err
}

// sheet are the crops of some rows.
func (d dataset) sheet(ctx context.Context, rows []int, note func(i int, c store.Crop) string) (faces []Face, err error) {
	reader := d.CropReader()
	defer func() { err = errors.Join(err, reader.Close()) }()
	side := d.Contract().CropSize
	for i, row := range rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		crop, err := reader.Crop(d.Locate(row))
		if err != nil {
			return nil, err
		}
		face := Face{Key: crop.Key, Note: note(i, crop)}
		img := imgcodec.NewImage(side, side)
		if crop.DecodeRGB(side, img.Pix) == nil {
			face.Source = d.m.album.thumb(img)
		}
		faces = append(faces, face)
	}
	return faces, nil
}

func (d dataset) identities(context.Context) (Section, error) {
	i := d.info.Identities
	s := Section{ID: "identities", Title: "Identities"}
	if i.Count == 0 {
		return s, nil
	}
	s.Lead = fmt.Sprintf("%s have %s to %s images, half of them %s or fewer.", many(i.Count, "identity"), count(i.Min), count(i.Max), count(i.Median))
	chart := plot.Bars{Title: "identities by number of images", X: "images an identity"}
	for _, bin := range i.Histogram {
		name := fmt.Sprint(bin.From)
		if bin.To > bin.From {
			name = fmt.Sprintf("%d–%d", bin.From, bin.To)
		}
		chart.Bars = append(chart.Bars, plot.Bar{Name: name, Count: bin.Identities})
	}
	s.Blocks = []Block{{Charts: []Chart{bars(chart)}}}
	return s, nil
}

// measure is one thing that may be known of every crop.
type measure struct {
	title, unit, define string
	of                  func(store.Crop) float64
}

// measuresOfCrops are all of them; what is not known is NaN.
var measuresOfCrops = []measure{
	{"face size", "pixels of the photograph", "facesize", quality(func(q store.Quality) float32 { return q.FaceSize })},
	{"sharpness", "variance of the Laplacian", "sharpness", quality(func(q store.Quality) float32 { return q.Sharpness })},
	{"yaw", "degrees", "yaw", quality(func(q store.Quality) float32 { return q.Yaw })},
	{"pitch", "degrees", "yaw", quality(func(q store.Quality) float32 { return q.Pitch })},
	{"roll", "degrees", "yaw", quality(func(q store.Quality) float32 { return q.Roll })},
	{"detector's score", "", "", func(c store.Crop) float64 {
		if c.Score == 0 {
			return math.NaN()
		}
		return float64(c.Score)
	}},
}

func quality(of func(store.Quality) float32) func(store.Crop) float64 {
	return func(c store.Crop) float64 {
		if !c.HasQuality {
			return math.NaN()
		}
		return float64(of(c.Quality))
	}
}

// measures are histograms of what was measured of the crops.
func (d dataset) measures(ctx context.Context) (s Section, err error) {
	rows := spread(d.Rows(), maxMeasured)
	values := make([][]float64, len(measuresOfCrops))
	reader := newHeads(d.Dataset)
	defer func() { err = errors.Join(err, reader.close()) }()
	for _, row := range rows {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		head, err := reader.at(row)
		if err != nil {
			return s, err
		}
		for i, m := range measuresOfCrops {
			if v := m.of(head); !math.IsNaN(v) {
				values[i] = append(values[i], v)
			}
		}
	}
	s = Section{ID: "measures", Title: "Measures"}
	if len(rows) < d.Rows() {
		s.Lead = fmt.Sprintf("Of %s of the %s crops, spread evenly.", count(len(rows)), count(d.Rows()))
	}
	t := &Table{Head: "Measure", Columns: []Column{{Title: "5 %"}, {Title: "median"}, {Title: "95 %"}, {Title: "known of"}}}
	var charts []Chart
	for i, m := range measuresOfCrops {
		if len(values[i]) == 0 {
			continue
		}
		slices.Sort(values[i])
		median := quantile(values[i], 0.5)
		t.Rows = append(t.Rows, Row{Head: m.title, Note: m.unit, Cells: cells(
			brief(quantile(values[i], 0.05)), brief(median), brief(quantile(values[i], 0.95)), percent(float64(len(values[i]))/float64(len(rows)), 1),
		)})
		charts = append(charts, bars(plot.Bars{
			Title: m.title, X: m.unit, Bars: plot.Ranges(trimmed(values[i]), histogramBars), Mark: median, MarkLabel: "median " + brief(median),
		}))
	}
	if len(charts) > 0 {
		s.Blocks = []Block{{Charts: charts}, {Table: t}}
	}
	return s, nil
}

// quantile of sorted values, of which there is one at least.
func quantile(sorted []float64, q float64) float64 {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// trimmed are sorted values without the longest tails, which would leave a histogram one bar.
func trimmed(sorted []float64) []float64 {
	const tail = 0.005
	cut := int(tail * float64(len(sorted)))
	return sorted[cut : len(sorted)-cut]
}

// heads reads what describes crops, in the order of the rows, with one shard open.
type heads struct {
	d      *store.Dataset
	shard  *store.CropShard
	number int
}

func newHeads(d *store.Dataset) *heads { return &heads{d: d, number: -1} }

func (h *heads) at(row int) (store.Crop, error) {
	at := h.d.Locate(row)
	if int(at.Shard) != h.number {
		if err := h.close(); err != nil {
			return store.Crop{}, err
		}
		var err error
		if h.shard, err = h.d.CropShard(int(at.Shard)); err != nil {
			return store.Crop{}, err
		}
		h.number = int(at.Shard)
	}
	return h.shard.Head(int(at.Row))
}

func (h *heads) close() error {
	if h.shard == nil {
		return nil
	}
	shard := h.shard
	h.shard, h.number = nil, -1
	return shard.Close()
}

func (d dataset) splits(context.Context) (Section, error) {
	s := Section{ID: "splits", Title: "Splits"}
	if d.info.Splits[""] == d.info.Rows {
		return s, nil
	}
	t := &Table{Head: "Split", Columns: []Column{{Title: "crops"}, {Title: "share"}}}
	for _, name := range slices.Sorted(maps.Keys(d.info.Splits)) {
		n := d.info.Splits[name]
		if name == "" {
			name = "in none"
		}
		t.Rows = append(t.Rows, Row{Head: name, Cells: cells(count(n), percent(float64(n)/float64(d.info.Rows), 1))})
	}
	s.Blocks = []Block{{Table: t.cut()}}
	return s, nil
}

func (d dataset) sources(context.Context) (Section, error) {
	t := &Table{Head: "Source", Columns: []Column{{Title: "crops"}, {Title: "duplicates"}, {Title: "rejects"}, {Title: "detector", Words: true}}}
	for _, src := range d.info.Sources {
		detector := src.Detector
		if src.Policy != "" {
			detector += "; " + src.Policy
		}
		t.Rows = append(t.Rows, Row{Head: src.Path, Note: src.Kind, Cells: cells(count(src.Rows), count(src.Duplicates), count(src.Rejects), detector)})
	}
	return Section{ID: "sources", Title: "Sources", Blocks: []Block{{Table: t.cut()}}}, nil
}

func (d dataset) teachers(context.Context) (Section, error) {
	s := Section{ID: "teachers", Title: "Teachers"}
	t := &Table{Head: "Cache", Columns: []Column{{Title: "crops"}, {Title: "dimension"}, {Title: "type", Words: true}, {Title: "mirrored", Words: true}, {Title: "unusable"}, {Title: "size"}}}
	for _, c := range d.info.Teachers {
		mirrored := "no"
		if c.Flip {
			mirrored = "yes"
		}
		t.Rows = append(t.Rows, Row{Head: c.Name, Note: c.ModelFile, Cells: cells(count(c.Rows), count(c.Dim), c.DType, mirrored, count(c.Invalid), size(c.Bytes))})
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s, nil
}

// maxTeachers are compared with each other.
const maxTeachers = 6

// agreement compares each two complete caches.
func (d dataset) agreement(ctx context.Context) (Section, error) {
	var names []string
	for _, t := range d.info.Teachers {
		if t.MissingShards == 0 && len(names) < maxTeachers {
			names = append(names, t.Name)
		}
	}
	return d.m.agreement(ctx, d.Dir(), names, names)
}

// agreement is a section on how far teachers agree, each of a with each later one of b.
func (m *maker) agreement(ctx context.Context, dir string, a, b []string) (Section, error) {
	s := Section{ID: "agreement", Title: "Agreement", Lead: "Rank correlation of the cosines that two teachers see between the same crops: 1 if they order pairs alike."}
	if m.Agreement == nil {
		return s, nil
	}
	t := &Table{Head: "Teachers", Columns: []Column{{Title: "all pairs"}, {Title: "of one person"}, {Title: "of two"}, {Title: "pairs"}}}
	done := map[[2]string]bool{}
	for _, x := range a {
		for _, y := range b {
			if x == y || done[[2]string{y, x}] {
				continue
			}
			done[[2]string{x, y}] = true
			r, err := m.Agreement(ctx, dir, x, y)
			if err != nil {
				return s, err
			}
			t.Rows = append(t.Rows, Row{Head: x + " and " + y, Cells: cells(known(r.All), known(r.Same), known(r.Different), count(r.Pairs))})
		}
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s, nil
}

// known is a correlation, a dash if there is none.
func known(v *float64) string {
	if v == nil {
		return "–"
	}
	return number(*v, 3)
}

func (d dataset) facts(context.Context) (Section, error) {
	i, c := d.info, d.info.Contract
	var encodings []string
	for _, name := range slices.Sorted(maps.Keys(i.Encodings)) {
		encodings = append(encodings, count(i.Encodings[name])+" "+name)
	}
	list := facts(
		Fact{"Folder", i.Dataset}, Fact{"Digest", i.Digest},
		Fact{"Contract", fmt.Sprintf("%d pixels, template %s, warp %s, decoder %s", c.CropSize, c.Template, c.Warp, c.Decoder)},
		Fact{"Files", fmt.Sprintf("%s in %s; format version %d", size(i.CropBytes), many(i.Shards, "shard"), i.FormatVersion)},
		Fact{"Crops", strings.Join(encodings, ", ")}, Fact{"Duplicates", count(i.Duplicates)}, Fact{"Index", i.Index},
	)
	for n, s := range i.Sources {
		list = append(list, facts(
			Fact{fmt.Sprintf("Source %d's digest", n), s.Digest}, Fact{fmt.Sprintf("Source %d's detector", n), s.DetectorDigest},
			Fact{fmt.Sprintf("Source %d's landmarks", n), s.Landmarks}, Fact{fmt.Sprintf("Source %d was merged from", n), s.MergedFrom},
		)...)
	}
	return Section{ID: "digests", Title: "Digests", Folded: true, Blocks: []Block{{Facts: list}}}, nil
}
