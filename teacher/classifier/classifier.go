// Package classifier imports the weight matrix of the classifier that a teacher was trained
// with, for losses that pull students to the classes that the teacher was pulled to.
package classifier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"facepipe/internal/embed"
	"facepipe/internal/filedigest"
	"facepipe/internal/progress"
	"facepipe/internal/regular"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
)

// Options are the settings of [Import].
type Options struct {
	Dataset string
	// Teacher is the cache's name.
	Teacher string
	// From is a .npy file or an ONNX file. Tensor is the name of the initializer in the
	// latter; "" takes the only one that fits.
	From   string
	Tensor string
	// Identities is a text file that names the rows of the matrix, a line each. Without
	// one, row i is named Prefix followed by i.
	Identities string
	Prefix     string
	// Replace lets the matrix take the place of another one.
	Replace bool
	// Progress receives the bar; nil is silent.
	Progress io.Writer
}

// Summary is what [Import] did.
type Summary struct {
	Dataset string `json:"dataset"`
	Teacher string `json:"teacher"`
	derived.ClassifierInfo
	Dim int `json:"dim"`
	// Identities is the number of the dataset's, of which Matched have a row.
	Identities int `json:"identities"`
	Matched    int `json:"matched"`
	// Reused says that this very matrix was there already.
	Reused  bool    `json:"reused"`
	Seconds float64 `json:"seconds"`
}

// Import stores the weight matrix of the classifier that a teacher was trained
// with, a class a row, beside its cache; see [derived.Classifier]. Elements are
// float16, float32 or float64 and become float32. The matrix is read row by row.
//
// Errors: [ErrMatrix], also if none of the rows is named after an identity of the dataset;
// npy.ErrFormat, onnx.ErrFormat; [os.ErrExist] if there is another matrix and Replace is not
// set; store.ErrNotFound, store.ErrLocked, store.ErrDamaged; the context's. The same call
// finishes an interrupted one.
func Import(ctx context.Context, o Options) (s Summary, err error) {
	begun := time.Now()
	ds, err := store.Open(o.Dataset)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, ds.Close()) }()
	t, err := cache.Open(ds, o.Teacher)
	if err != nil {
		return s, err
	}
	s = Summary{Dataset: o.Dataset, Teacher: o.Teacher, Dim: t.Info().Dim, Identities: ds.Identities()}
	m, err := openMatrix(o.From, o.Tensor, t.Info().Dim)
	if err != nil {
		return s, fmt.Errorf("import classifier: %w", err)
	}
	defer func() { err = errors.Join(err, m.close()) }()
	if s.ClassifierInfo, err = o.describe(m); err != nil {
		return s, fmt.Errorf("import classifier: %w", err)
	}
	labels, reused, err := o.present(ctx, ds, t, s.ClassifierInfo)
	if err == nil && !reused {
		labels, err = o.store(ctx, ds, t, m, s.ClassifierInfo)
	}
	if err != nil {
		return s, fmt.Errorf("import classifier of %s: %w", o.From, err)
	}
	s.Reused, s.Matched = reused, count(labels)
	s.Seconds = time.Since(begun).Seconds()
	return s, nil
}

// count is the number of labels that have a row.
func count(rows []int32) int {
	n := 0
	for _, row := range rows {
		if row >= 0 {
			n++
		}
	}
	return n
}

// describe says where the matrix and the names of its rows are from.
func (o *Options) describe(m *matrix) (info derived.ClassifierInfo, err error) {
	info = derived.ClassifierInfo{Origin: filepath.Base(o.From), Tensor: m.tensor, DType: m.element.name, Prefix: o.Prefix, Rows: m.rows}
	if m.tensor == "" {
		info.OriginDigest, err = filedigest.Of(o.From)
	} else {
		info.OriginDigest, err = embed.Digest(o.From) // of the files beside it, too
	}
	if err == nil && o.Identities != "" {
		info.Names, info.Prefix = filepath.Base(o.Identities), ""
		info.NamesDigest, err = filedigest.Of(o.Identities)
	}
	return info, err
}

// present says whether this very matrix is stored undamaged, and gives the rows of the labels
// then.
func (o *Options) present(ctx context.Context, ds *store.Dataset, t *cache.Cache, info derived.ClassifierInfo) (labels []int32, there bool, err error) {
	c, err := derived.OpenClassifier(t)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if c.Info() != info {
		return nil, false, nil
	}
	labels, err = c.RowsOfLabels(ctx, ds)
	if errors.Is(err, store.ErrDamaged) && o.Replace {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return labels, true, derived.TidyClassifier(t)
}

// store copies the matrix. It keeps nothing of a matrix that has none of the dataset's
// classes.
func (o *Options) store(ctx context.Context, ds *store.Dataset, t *cache.Cache, m *matrix, info derived.ClassifierInfo) (labels []int32, err error) {
	names, err := o.names(m.rows)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, names.close()) }()
	w, err := derived.CreateClassifier(t, info, o.Replace)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w (--replace)", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Abort()) }() // does nothing after Commit
	bar := progress.New(o.Progress, "import classifier", int64(m.rows))
	defer bar.Finish()
	weights := make([]float32, m.dim)
	for range m.rows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name, err := names.next()
		if err != nil {
			return nil, err
		}
		if err := m.next(weights); err != nil {
			return nil, err
		}
		if err := w.Append(name, weights); err != nil {
			return nil, err
		}
		bar.Add(1)
	}
	if err := names.end(); err != nil {
		return nil, err
	}
	if labels, err = w.RowsOfLabels(ctx); err != nil {
		return nil, err
	}
	if count(labels) == 0 && len(labels) > 0 {
		return nil, fmt.Errorf("%w: none of its %d rows is named after one of the %d identities of %s, such as %q; give a file of names, or the prefix of their numbers",
			ErrMatrix, m.rows, len(labels), o.Dataset, anIdentity(ds))
	}
	return labels, w.Commit()
}

// anIdentity is the name of an identity that has crops.
func anIdentity(ds *store.Dataset) string {
	for i := range ds.Shards() {
		crops, err := ds.CropShard(i)
		if err != nil {
			return ""
		}
		defer crops.Close()
		for row := range crops.Rows() {
			if c, err := crops.Head(row); err == nil && c.Identity != "" {
				return c.Identity
			}
		}
	}
	return ""
}

// rowNames are the names of the rows of a matrix, from a file or by number.
type rowNames struct {
	path   string
	prefix string
	file   *os.File // nil by number
	lines  *bufio.Scanner
	rows   int
	row    int
}

func (o *Options) names(rows int) (*rowNames, error) {
	n := &rowNames{path: o.Identities, prefix: o.Prefix, rows: rows}
	if o.Identities == "" {
		return n, nil
	}
	var err error
	if n.file, err = regular.Open(o.Identities); err != nil {
		return nil, err
	}
	n.lines = bufio.NewScanner(n.file)
	n.lines.Buffer(nil, 2*store.MaxKeyBytes)
	return n, nil
}

func (n *rowNames) next() (string, error) {
	n.row++
	if n.file == nil {
		return n.prefix + strconv.Itoa(n.row-1), nil
	}
	if !n.lines.Scan() {
		if err := n.lines.Err(); err != nil {
			return "", fmt.Errorf("%s, line %d: %w", n.path, n.row, err)
		}
		return "", fmt.Errorf("%s: %d lines for %d rows", n.path, n.row-1, n.rows)
	}
	return strings.TrimSuffix(n.lines.Text(), "\r"), nil
}

// end refuses more names than rows. Empty lines at the end do no harm.
func (n *rowNames) end() error {
	if n.file == nil {
		return nil
	}
	for n.lines.Scan() {
		if strings.TrimSpace(n.lines.Text()) != "" {
			return fmt.Errorf("%s: more lines than the %d rows", n.path, n.rows)
		}
	}
	if err := n.lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", n.path, err)
	}
	return nil
}

func (n *rowNames) close() error {
	if n.file == nil {
		return nil
	}
	return n.file.Close()
}
