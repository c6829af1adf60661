package derived

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"facepipe/internal/durable"
	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// classifierFolder is in the cache's.
const classifierFolder = "classifier"

// ClassifierInfo says where a teacher's classifier matrix came from.
type ClassifierInfo struct {
	// Origin is the base name of the file that it was imported from, for people, and
	// OriginDigest identifies its contents in 64 hexadecimal digits.
	Origin       string `json:"origin"`
	OriginDigest string `json:"origin_digest"`
	// Tensor is the initializer's name in an ONNX file, "" for an array.
	Tensor string `json:"tensor,omitempty"`
	// DType is the element type there: float16, float32 or float64. It is stored as
	// float32.
	DType string `json:"dtype"`
	// Names is the base name of the file that named the rows, and NamesDigest its
	// SHA-256; "" if they were numbered, Prefix and the number making the name.
	Names       string `json:"names,omitempty"`
	NamesDigest string `json:"names_digest,omitempty"`
	Prefix      string `json:"prefix,omitempty"`
	// Rows is the number of classes.
	Rows int `json:"rows"`
}

// classifierManifest is teachers/NAME/classifier/classifier.json.
type classifierManifest struct {
	table.Header
	Fingerprint string `json:"fingerprint"`
	ClassifierInfo
	File *table.FileInfo `json:"file"`
}

func (m *classifierManifest) validate(t *cache.Cache) error {
	if m.Fingerprint != t.Info().Fingerprint {
		return fmt.Errorf("has fingerprint %s, its teacher has %s", m.Fingerprint, t.Info().Fingerprint)
	}
	if m.Rows < 1 || m.File == nil {
		return fmt.Errorf("has %d rows", m.Rows)
	}
	return m.File.Validate(m.Rows)
}

// Digest identifies the matrix, its names included.
func (i *ClassifierInfo) Digest() string {
	h := sha256.New()
	table.WriteFields(h, "facepipe classifier 1", i.OriginDigest, i.Tensor, i.NamesDigest, i.Prefix)
	return hex.EncodeToString(h.Sum(nil))
}

// classifierSchema is that of the table: row i is class i.
func classifierSchema(t cache.Info, source string) *arrow.Schema {
	return tableSchema(table.FormatClassifier, t.Fingerprint, source,
		table.Required("identity", arrow.BinaryTypes.String),
		table.Required("weight", arrow.FixedSizeListOfNonNullable(int32(t.Dim), arrow.PrimitiveTypes.Float32)))
}

// classifierColumns are a batch of classes.
type classifierColumns struct {
	identity *array.String
	weights  table.Vectors
}

func parseClassifierColumns(rec arrow.RecordBatch) (c classifierColumns, err error) {
	c.identity = rec.Column(0).(*array.String)
	c.weights, err = table.ParseMatrix(rec.Column(1))
	return c, err
}

const tableClassifier = "classifier"

// Classifier is the weight matrix of the classifier that a teacher was trained with: for
// each class the direction that its embeddings were pulled to. Close it after use. Safe
// for concurrent use until then.
type Classifier struct {
	info ClassifierInfo
	dim  int
	file *table.File[classifierColumns]
}

// readClassifierManifest is [os.ErrNotExist] if there is none.
func readClassifierManifest(t *cache.Cache) (classifierManifest, error) {
	return twice(func() (classifierManifest, error) { return lookAtClassifier(t) })
}

func lookAtClassifier(t *cache.Cache) (m classifierManifest, err error) {
	f := folderIn(t, classifierFolder)
	if err := table.ReadSealed(f.manifest(), table.FormatClassifier, &m); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			if lost := f.lost(); lost != nil {
				return m, fmt.Errorf("%w: import it again with --replace", lost)
			}
		}
		return m, err
	}
	if err := table.AsDamage(f.manifest(), m.validate(t)); err != nil {
		return m, err
	}
	return m, table.CheckSize(f.table(tableClassifier, m.Digest()), m.File.Bytes)
}

// FindClassifier says where a teacher's classifier matrix came from, without reading it; nil
// if there is none. It is for store/info.
func FindClassifier(t *cache.Cache) (*ClassifierInfo, error) {
	m, err := readClassifierManifest(t)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m.ClassifierInfo, nil
}

// OpenClassifier opens the classifier matrix that was imported for the teacher.
// [store.ErrNotFound], [store.ErrDamaged], [store.ErrVersion].
func OpenClassifier(t *cache.Cache) (*Classifier, error) {
	return twice(func() (*Classifier, error) { return mapClassifier(t) })
}

func mapClassifier(t *cache.Cache) (*Classifier, error) {
	m, err := lookAtClassifier(t)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open classifier of teacher %s of %s: %w", t.Info().Name, t.Dataset().Dir(), store.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	path := folderIn(t, classifierFolder).table(tableClassifier, m.Digest())
	file, err := table.Open(path, m.File, classifierSchema(t.Info(), m.Digest()), parseClassifierColumns)
	if err != nil {
		return nil, err
	}
	return &Classifier{info: m.ClassifierInfo, dim: t.Info().Dim, file: file}, nil
}

// TidyClassifier deletes what an import left that was killed when it had replaced another
// matrix: the old one.
func TidyClassifier(t *cache.Cache) error {
	f := folderIn(t, classifierFolder)
	err := f.tidy(func() ([]string, error) {
		m, err := readClassifierManifest(t)
		return []string{f.table(tableClassifier, m.Digest())}, err
	})
	if err != nil {
		return fmt.Errorf("tidy classifier of teacher %s: %w", t.Info().Name, err)
	}
	return nil
}

// Info says where the matrix came from.
func (c *Classifier) Info() ClassifierInfo { return c.info }

// Close unmaps the table.
func (c *Classifier) Close() error {
	if c.file == nil {
		return nil
	}
	f := c.file
	c.file = nil
	return f.Close()
}

// Row copies row 0 .. Info().Rows-1 of the matrix, not normalised, to dst, which has the
// teacher's dimension, and returns the class's name. A row out of range panics.
// [store.ErrDamaged] if the batch that holds it does not match its checksum.
func (c *Classifier) Row(row int, dst []float32) (identity string, err error) {
	b, k := c.file.Find(row)
	columns, err := c.file.Columns[b]()
	if err != nil {
		return "", err
	}
	if len(dst) != c.dim {
		panic(fmt.Sprintf("derived: class of %d weights read into %d", c.dim, len(dst)))
	}
	columns.weights.CopyRow(k, dst)
	return string([]byte(columns.identity.Value(k))), nil // not the mapping's
}

// RowsOfLabels finds the classes of a dataset's identities by their names: entry l is
// the row of the matrix for label l, -1 if it has none. It reads the columns of all crop
// shards; memory grows by some 30 bytes a class and 4 an identity.
func (c *Classifier) RowsOfLabels(ctx context.Context, d *store.Dataset) ([]int32, error) {
	var names table.KeyTable
	for i := range c.file.Columns {
		columns, err := c.file.Columns[i]()
		if err != nil {
			return nil, err
		}
		for k := range columns.identity.Len() {
			names.Insert(table.HashName(columns.identity.Value(k)))
		}
	}
	return rowsOfLabels(ctx, d, &names)
}

// rowsOfLabels are the numbers of the names of a dataset's identities, by label; -1 for
// none.
func rowsOfLabels(ctx context.Context, d *store.Dataset, names *table.KeyTable) ([]int32, error) {
	const unmet = -2
	rows := make([]int32, d.Identities())
	for l := range rows {
		rows[l] = unmet
	}
	for shard := range d.Shards() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := d.EachLabel(shard, func(label int32, identity string) {
			if label == store.NoLabel || rows[label] != unmet {
				return
			}
			rows[label] = -1
			if n, ok := names.Find(table.HashName(identity)); ok {
				rows[label] = int32(n)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	for l := range rows {
		rows[l] = max(rows[l], -1)
	}
	return rows, nil
}

// ClassifierWriter stores a classifier matrix: Append for every row, then Commit. For one
// goroutine.
type ClassifierWriter struct {
	teacher  *cache.Cache
	folder   folder
	lock     *durable.Lock
	manifest classifierManifest
	table    *tableWriter[classifierColumns]
	names    table.KeyTable
}

// CreateClassifier begins to store a classifier matrix for the teacher; info.Rows is
// set by what is appended. One from another origin that is there is an error
// ([os.ErrExist]) unless it is to be replaced, which happens when the new one is
// committed. [store.ErrLocked] while another is being imported.
func CreateClassifier(t *cache.Cache, info ClassifierInfo, replace bool) (w *ClassifierWriter, err error) {
	fail := func(err error) (*ClassifierWriter, error) {
		return nil, fmt.Errorf("write classifier of teacher %s of %s: %w", t.Info().Name, t.Dataset().Dir(), err)
	}
	f := folderIn(t, classifierFolder)
	lock, err := f.claim(durable.TryLock)
	if err != nil {
		return fail(err)
	}
	switch have, err := readClassifierManifest(t); {
	case errors.Is(err, os.ErrNotExist) || replace:
	case err != nil:
		return fail(errors.Join(err, lock.Unlock()))
	case have.Digest() != info.Digest():
		return fail(errors.Join(fmt.Errorf("it has one of %s (%.12s…) %w", have.Origin, have.OriginDigest, os.ErrExist), lock.Unlock()))
	}
	w = &ClassifierWriter{teacher: t, folder: f, lock: lock,
		manifest: classifierManifest{Header: table.HeaderOf(table.FormatClassifier), Fingerprint: t.Info().Fingerprint, ClassifierInfo: info}}
	w.manifest.Rows = 0
	source := info.Digest()
	w.table, err = newTableWriter(f, f.table(tableClassifier, source), classifierSchema(t.Info(), source), vectorRows(t.Info().Dim), parseClassifierColumns)
	if err != nil {
		return fail(errors.Join(err, lock.Unlock()))
	}
	return w, nil
}

// Append adds a class; the weights are copied. Its name must be new and fit for an
// identity. Weights that are not finite, or all zero, are an error, as is a wrong number
// of them: there is no direction in them.
func (w *ClassifierWriter) Append(identity string, weights []float32) error {
	row := w.manifest.Rows
	if len(weights) != w.teacher.Info().Dim {
		return fmt.Errorf("class %d has %d weights, the teacher has %d dimensions", row, len(weights), w.teacher.Info().Dim)
	}
	if identity == "" {
		return fmt.Errorf("class %d has no name", row)
	}
	if err := store.ValidIdentity(identity); err != nil {
		return fmt.Errorf("class %d: %w", row, err)
	}
	if n, added := w.names.Insert(table.HashName(identity)); !added {
		return fmt.Errorf("classes %d and %d are both named %q", n, row, identity)
	}
	if err := usableWeights(weights); err != nil {
		return fmt.Errorf("class %d (%s): %w", row, identity, err)
	}
	w.manifest.Rows++
	w.table.build.Field(0).(*array.StringBuilder).Append(identity)
	w.table.vector(1, weights)
	return w.table.done()
}

// RowsOfLabels is what [Classifier.RowsOfLabels] will say of the classes so far, for the
// teacher's dataset.
func (w *ClassifierWriter) RowsOfLabels(ctx context.Context) ([]int32, error) {
	return rowsOfLabels(ctx, w.teacher.Dataset(), &w.names)
}

func usableWeights(weights []float32) error {
	if i := vec.NotFinite(weights); i >= 0 {
		return fmt.Errorf("weight %d is %g", i, weights[i])
	}
	if !slices.ContainsFunc(weights, func(x float32) bool { return x != 0 }) {
		return errors.New("all weights are zero")
	}
	return nil
}

// Commit makes the matrix durable, in the place of an earlier one.
func (w *ClassifierWriter) Commit() error {
	if err := w.commit(); err != nil {
		return errors.Join(fmt.Errorf("write classifier of teacher %s: %w", w.teacher.Info().Name, err), w.Abort())
	}
	return w.unlock()
}

func (w *ClassifierWriter) commit() (err error) {
	if w.manifest.Rows == 0 {
		return errors.New("it has no rows")
	}
	if w.manifest.File, err = w.table.seal(); err != nil {
		return err
	}
	if err := w.table.out.Commit(); err != nil {
		return err
	}
	return w.folder.commit(&w.manifest, w.table.out.Path)
}

// Abort throws the matrix away. After Commit or Abort it does nothing.
func (w *ClassifierWriter) Abort() error {
	if w.lock == nil {
		return nil
	}
	return errors.Join(w.table.out.Abort(), w.unlock())
}

func (w *ClassifierWriter) unlock() error {
	err := w.lock.Unlock()
	w.lock = nil
	return err
}

func (c *Classifier) audit() error { return c.file.Audit() }
