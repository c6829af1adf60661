package page

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"path/filepath"

	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// evaluation is an eval's report.json and the folder it is in.
type evaluation struct {
	path, folder string
	test         string // the name of one of several, "" of one alone
	report.Report
	more extras
	raw  json.RawMessage
}

// extras are those parts of a report that a page words itself. All may be absent.
type extras struct {
	Command     []string     `json:"command"`
	Comparisons []comparison `json:"comparisons"`
	Models      []modelMore  `json:"models"`
	Overlap     *overlap     `json:"overlap"`
	Cohorts     []cohort     `json:"cohorts"`
	Agreement   []agreement  `json:"agreement"`
}

type interval = verification.Interval

// rate is a share of errors with what is known of it.
type rate struct {
	Value    float64   `json:"value"`
	Errors   int       `json:"errors"`
	Of       int       `json:"of"`
	Interval *interval `json:"interval"`
}

// figure is a value with its interval.
type figure struct {
	Value    float64   `json:"value"`
	Interval *interval `json:"interval"`
}

// modelMore is what the extras have of a model.
type modelMore struct {
	Uncertainty *uncertainty `json:"uncertainty"`
	Cost        *cost        `json:"cost"`
}

type uncertainty struct {
	Level           float64 `json:"level"`
	Identities      int     `json:"identities"`
	Replicates      int     `json:"replicates"`
	Seed            uint64  `json:"seed"`
	Accuracy        figure  `json:"accuracy"`
	AUC             figure  `json:"auc"`
	EER             figure  `json:"eer"`
	OperatingPoints []struct {
		Target    float64 `json:"target_fmr"`
		Threshold figure  `json:"threshold_cosine"`
		FNMR      figure  `json:"fnmr"`
		Fixed     struct {
			FMR  rate `json:"fmr"`
			FNMR rate `json:"fnmr"`
		} `json:"at_threshold"`
	} `json:"operating_points"`
	Notes []string `json:"notes"`
}

type comparison struct {
	Test     string       `json:"test"`
	A        string       `json:"a"`
	B        string       `json:"b"`
	Accuracy difference   `json:"accuracy"`
	AUC      difference   `json:"auc"`
	EER      difference   `json:"eer"`
	FNMR     []difference `json:"fnmr"`
	Notes    []string     `json:"notes"`
}

type difference struct {
	Target    float64   `json:"target_fmr"`
	Delta     float64   `json:"delta"`
	Interval  *interval `json:"interval"`
	P         *float64  `json:"p"`
	Adjusted  *float64  `json:"p_adjusted"`
	Decisions *struct {
		OnlyA   int     `json:"only_a_right"`
		OnlyB   int     `json:"only_b_right"`
		McNemar float64 `json:"mcnemar_p"`
	} `json:"decisions"`
}

// cost is what a model costs.
type cost struct {
	Bytes           int64  `json:"bytes"`
	Parameters      int64  `json:"parameters"`
	Precision       string `json:"precision"`
	Multiplications *struct {
		MACs      int64 `json:"macs"`
		Attention int64 `json:"attention"`
	} `json:"multiplications"`
	Provider string `json:"provider"`
	Threads  int    `json:"threads"`
	Batches  []struct {
		Size       int     `json:"size"`
		Median     float64 `json:"median_ms"`
		P95        float64 `json:"p95_ms"`
		Throughput float64 `json:"crops_per_second"`
	} `json:"batches"`
	Memory *struct {
		Peaks []struct {
			Size  int   `json:"size"`
			Bytes int64 `json:"bytes"`
		} `json:"peaks"`
	} `json:"memory"`
	Notes []string `json:"notes"`
}

// overlap is what a training set holds of the test.
type overlap struct {
	Train           string       `json:"train"`
	Teacher         string       `json:"teacher"`
	Hits            []overlapHit `json:"hits"`
	Unlisted        int          `json:"unlisted"`
	DirtyCrops      int          `json:"dirty_crops"`
	DirtyIdentities int          `json:"dirty_identities"`
	Centres         *search      `json:"centres"`
	Images          *search      `json:"images"`
	TestSide        struct {
		Crops int `json:"crops"`
	} `json:"test_side"`
	Notes []string `json:"notes"`
}

type search struct {
	Threshold float64  `json:"threshold"`
	Expected  *float64 `json:"expected_false_hits"`
	Hits      int      `json:"hits"`
}

type overlapHit struct {
	By            string  `json:"by"`
	TestKey       string  `json:"test_key"`
	TestIdentity  string  `json:"test_identity"`
	TrainKey      string  `json:"train_key"`
	TrainIdentity string  `json:"train_identity"`
	Cosine        float64 `json:"cosine"`
}

// cohort is what a model does on groups of faces at one threshold.
type cohort struct {
	Test            string         `json:"test"`
	Model           string         `json:"model"`
	Column          string         `json:"column"`
	Cut             string         `json:"cut"`
	ThresholdCosine float64        `json:"threshold_cosine"`
	TargetFMR       float64        `json:"target_fmr"`
	All             cohortCell     `json:"all"`
	Groups          []cohortGroup  `json:"groups"`
	Matrix          [][]cohortCell `json:"matrix"`
	Summary         *struct {
		Groups    int      `json:"groups"`
		FMRRatio  *float64 `json:"fmr_max_by_min"`
		FNMRRatio *float64 `json:"fnmr_max_by_min"`
		FDR       float64  `json:"fdr"`
		GARBE     float64  `json:"garbe"`
	} `json:"summary"`
	Notes []string `json:"notes"`
}

type cohortCell struct {
	FMR  *rate `json:"fmr"`
	FNMR *rate `json:"fnmr"`
}

type cohortGroup struct {
	Name       string `json:"name"`
	Faces      int    `json:"faces"`
	Identities int    `json:"identities"`
	cohortCell
	Small        bool   `json:"small"`
	SmallBecause string `json:"small_because"`
}

// agreement is how far two models agree on faces and pairs.
type agreement struct {
	Test   string `json:"test"`
	A      string `json:"a"`
	B      string `json:"b"`
	Faces  int    `json:"faces"`
	Cosine *struct {
		Mean        float64 `json:"mean"`
		Percentile1 float64 `json:"percentile_1"`
		Min         float64 `json:"min"`
		MinKey      string  `json:"min_key"`
	} `json:"cosine"`
	Pairs     int      `json:"pairs"`
	All       *float64 `json:"spearman"`
	Same      *float64 `json:"spearman_same"`
	Different *float64 `json:"spearman_different"`
	Differ    []struct {
		First      string  `json:"first"`
		Second     string  `json:"second"`
		Same       bool    `json:"same"`
		CosineA    float64 `json:"cosine_a"`
		CosineB    float64 `json:"cosine_b"`
		Difference float64 `json:"difference"`
	} `json:"differ"`
	Notes []string `json:"notes"`
}

// reportFile is the report.json of a path, which may be the file itself.
func reportFile(path string) string {
	if isFile(path) {
		return path
	}
	return filepath.Join(path, "report.json")
}

// isEval is whether a path is an eval's folder or its report.
func isEval(path string) bool {
	if isFile(path) {
		return filepath.Ext(path) == ".json"
	}
	return isFile(reportFile(path))
}

// readEval reads a report of bounded size.
func readEval(path string) (*evaluation, error) {
	e := &evaluation{path: path, folder: filepath.Dir(reportFile(path))}
	data, err := readFile(reportFile(path), maxFile)
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &e.Report)
	if err == nil {
		err = json.Unmarshal(data, &e.more)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; run eval again to make it anew", store.ErrDamaged, reportFile(path), err)
	}
	if len(e.Report.Models)+len(e.Failed) == 0 || e.Pairs.Format == "" && e.Pairs.Path == "" {
		return nil, fmt.Errorf("%w: %s is no report of an eval: it has no models", ErrUnknown, reportFile(path))
	}
	for len(e.more.Models) < len(e.Report.Models) {
		e.more.Models = append(e.more.Models, modelMore{})
	}
	e.raw = data
	return e, nil
}

// tests are the parts of a report that has several tests, itself if it has one. What is said
// of no test in particular stays with the whole.
func (e *evaluation) tests() []*evaluation {
	if len(e.Report.Tests) < 2 {
		return []*evaluation{e}
	}
	var list []*evaluation
	for _, t := range e.Report.Tests {
		one := &evaluation{path: e.path, folder: e.folder, test: t.Name, Report: e.Report}
		one.Dataset, one.Pairs, one.FoldRule, one.Folds = t.Dataset, t.Pairs, t.FoldRule, t.Folds
		one.Report.Models, one.Report.Warnings = nil, nil
		for i, m := range e.Report.Models {
			if m.Test == t.Name {
				m.Test = "" // it need not be said of each
				one.Report.Models = append(one.Report.Models, m)
				one.more.Models = append(one.more.Models, e.more.Models[i])
			}
		}
		one.Report.Failed = ofTest(e.Report.Failed, t.Name, func(f report.Failed) string { return f.Test })
		one.more.Comparisons = ofTest(e.more.Comparisons, t.Name, func(c comparison) string { return c.Test })
		one.more.Cohorts = ofTest(e.more.Cohorts, t.Name, func(c cohort) string { return c.Test })
		one.more.Agreement = ofTest(e.more.Agreement, t.Name, func(a agreement) string { return a.Test })
		list = append(list, one)
	}
	return list
}

// ofTest are the elements of a test.
func ofTest[T any](list []T, name string, test func(T) string) (found []T) {
	for _, element := range list {
		if test(element) == name {
			found = append(found, element)
		}
	}
	return found
}

// maxPicture is the longest picture that is taken from an eval's folder.
const maxPicture = 256 << 10

// picture is an SVG file of the eval's folder, as an image: what is in it runs no script.
func (e *evaluation) picture(name string) (template.URL, bool) {
	data, err := readFile(filepath.Join(e.folder, name), maxPicture)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(data), []byte("<svg")) {
		return "", false
	}
	return dataURL("image/svg+xml", data), true
}

// name is the test's.
func (e *evaluation) name() string { return cmp.Or(e.test, filepath.Base(e.Pairs.Path)) }

// pictureOf is a picture that eval left for a key among its faces, as a thumbnail.
func (e *evaluation) pictureOf(m *maker, file string) template.URL {
	if file == "" || !filepath.IsLocal(file) {
		return ""
	}
	data, err := readFile(filepath.Join(e.folder, filepath.FromSlash(file)), maxFaceFile)
	if err != nil {
		return ""
	}
	img, _, err := imgcodec.Decode(data, imgcodec.Limits{Pixels: maxFacePixels})
	if err != nil {
		return ""
	}
	return m.album.thumb(img)
}

// Crops of an eval's folder are no larger.
const (
	maxFaceFile   = 1 << 20
	maxFacePixels = 1 << 20
)
