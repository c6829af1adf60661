package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"facepipe/internal/progress"
)

// teacherMerge is a cache that is merged: from[i] is that of input i, nil where the
// input has no crops and hence needs none.
type teacherMerge struct {
	info TeacherInfo
	from []*Teacher
}

// matchTeachers finds the caches that can be merged and refuses those that contradict
// each other.
func (m *merge) matchTeachers() error {
	if m.options.WithoutTeachers {
		return nil
	}
	names := map[string]bool{}
	for _, d := range m.inputs {
		list, err := d.Teachers()
		if err != nil {
			return err
		}
		for _, name := range list {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if err := m.matchTeacher(name); err != nil {
			return err
		}
	}
	return nil
}

func (m *merge) matchTeacher(name string) error {
	t := teacherMerge{from: make([]*Teacher, len(m.inputs))}
	var first *Teacher
	complete := true
	for i, d := range m.inputs {
		cache, err := d.OpenTeacher(name)
		switch {
		case errors.Is(err, ErrNotFound):
			if d.Rows() > 0 {
				complete = false
				m.note("teacher %s is not merged: %s has no such cache", name, d.dir)
			}
			continue
		case err != nil:
			return err
		case first == nil:
			first = cache
		}
		if err := sameTeacher(first, cache); err != nil {
			return err
		}
		t.from[i] = cache
	}
	if complete && first != nil {
		t.info = first.info
		m.teachers = append(m.teachers, t)
	}
	return nil
}

// sameTeacher refuses two caches of one name whose embeddings do not go together.
func sameTeacher(a, b *Teacher) error {
	x, y := a.info, b.info
	if x.Fingerprint == y.Fingerprint && x.Dim == y.Dim && x.DType == y.DType && x.Flip == y.Flip {
		return nil
	}
	return fmt.Errorf("%w: %s has %s (%s, %s, dim %d, flip %t), %s has %s (%s, %s, dim %d, flip %t); leave teachers out, or embed one of the two under another name", ErrFingerprint,
		a.folder, x.Fingerprint, x.ModelFile, x.DType, x.Dim, x.Flip,
		b.folder, y.Fingerprint, y.ModelFile, y.DType, y.Dim, y.Flip)
}

func (m *merge) note(format string, args ...any) {
	m.summary.Notes = append(m.summary.Notes, fmt.Sprintf(format, args...))
}

// teacherCopy copies embeddings of the inputs into the merged cache, a shard at a time.
type teacherCopy struct {
	*merge
	dataset *Dataset // the merged one
	teacher *teacherMerge
	writer  *TeacherWriter
	bar     *progress.Bar
	// ids are the crops that have an embedding; at[i] is where that of number i lies.
	ids keyTable
	at  []inputRow
	// open are the shards of the inputs that are being read.
	open map[inputShard]*sourceShard
}

// inputShard is a shard of one of the inputs.
type inputShard struct{ input, shard uint32 }

// inputRow is a row of such a shard.
type inputRow struct {
	inputShard
	row uint32
}

// sourceShard is an input's shard of embeddings, with the reasons of those that are
// invalid, by row.
type sourceShard struct {
	file *embeddingFile
	why  map[int]unusable
}

// maxOpenShards bounds the mappings of a merge; crops come in the order of the inputs,
// so that few are in use at a time.
const maxOpenShards = 64

func (m *merge) mergeTeacher(merged *Dataset, t *teacherMerge) (err error) {
	w, err := merged.CreateTeacher(t.info)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	c := &teacherCopy{merge: m, dataset: merged, teacher: t, writer: w, open: map[inputShard]*sourceShard{}}
	defer func() { err = errors.Join(err, c.closeShards()) }()
	report := MergedTeacher{Teacher: t.info.Name, Fingerprint: t.info.Fingerprint, Reused: merged.Rows()}
	missing := w.MissingShards()
	if len(missing) > 0 {
		if err := c.locate(); err != nil {
			return err
		}
	}
	for _, shard := range missing {
		report.Reused -= merged.ShardRows(shard)
	}
	c.bar = m.bar("merge teacher "+t.info.Name, merged.Rows()-report.Reused)
	for _, shard := range missing {
		copied, err := c.shard(shard)
		if err != nil {
			return err
		}
		report.Copied += copied
		report.Missing += merged.ShardRows(shard) - copied
	}
	c.bar.Finish()
	if report.Missing > 0 {
		m.note("teacher %s: %d crops are in shards that lack an embedding in the inputs, and are still to be embedded", t.info.Name, report.Missing)
	}
	m.summary.Teachers = append(m.summary.Teachers, report)
	return nil
}

// locate finds out which crops have embeddings, and where. Of several, the first is
// taken: they are of one fingerprint.
func (c *teacherCopy) locate() error {
	for i, t := range c.teacher.from {
		if t == nil {
			continue
		}
		for shard, info := range t.shards {
			if info == nil {
				continue
			}
			if err := c.ctx.Err(); err != nil {
				return err
			}
			f, err := t.dataset.openCrops(shard)
			if err != nil {
				return err
			}
			row := uint32(0)
			err = f.eachColumns(func(columns *cropColumns) error {
				for k := range columns.rows() {
					if _, added := c.ids.insert(key128(columns.idAt(k))); added {
						c.at = append(c.at, inputRow{inputShard{uint32(i), uint32(shard)}, row})
					}
					row++
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// shard copies the embeddings of one shard of the merged dataset and returns their
// number, 0 if one of them is missing: a shard is embedded whole or not at all.
func (c *teacherCopy) shard(shard int) (copied int, err error) {
	rows, err := c.find(shard)
	if err != nil || rows == nil {
		return 0, err
	}
	w, err := c.writer.Shard(shard)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, w.Abort()) }()
	for n, at := range rows {
		if n%maxBatchRows == 0 && c.ctx.Err() != nil {
			return 0, c.ctx.Err()
		}
		if err := c.row(w, at); err != nil {
			return 0, err
		}
		c.bar.Add(1)
	}
	return len(rows), w.Commit()
}

// find is where the embeddings of a shard of the merged dataset lie; nil if one is
// missing.
func (c *teacherCopy) find(shard int) (rows []inputRow, err error) {
	f, err := c.dataset.openCrops(shard)
	if err != nil {
		return nil, err
	}
	missing := false
	err = f.eachColumns(func(columns *cropColumns) error {
		for k := range columns.rows() {
			n, ok := c.ids.find(key128(columns.idAt(k)))
			if !ok {
				missing = true
				return nil
			}
			rows = append(rows, c.at[n])
		}
		return nil
	})
	if missing {
		return nil, err
	}
	return rows, err
}

// row copies one embedding.
func (c *teacherCopy) row(w *EmbeddingWriter, at inputRow) error {
	s, err := c.source(at.inputShard)
	if err != nil {
		return err
	}
	b, k := s.file.find(int(at.row))
	columns, err := s.file.columns[b]()
	if err != nil {
		return err
	}
	return w.appendStored(columns, k, s.why[int(at.row)])
}

// source opens a shard of an input.
func (c *teacherCopy) source(at inputShard) (*sourceShard, error) {
	if s := c.open[at]; s != nil {
		return s, nil
	}
	if len(c.open) == maxOpenShards {
		if err := c.closeShards(); err != nil {
			return nil, err
		}
	}
	t, shard := c.teacher.from[at.input], int(at.shard)
	why, err := t.invalidRows(shard)
	if err != nil {
		return nil, err
	}
	f, err := t.openFile(shard)
	if err != nil {
		return nil, err
	}
	s := &sourceShard{file: f, why: why}
	c.open[at] = s
	return s, nil
}

func (c *teacherCopy) closeShards() error {
	var err error
	for at, s := range c.open {
		err = errors.Join(err, s.file.Close())
		delete(c.open, at)
	}
	return err
}

// invalidRows are the reasons of the invalid embeddings of a shard, by row.
func (t *Teacher) invalidRows(shard int) (map[int]unusable, error) {
	if t.shards[shard].invalid == 0 {
		return nil, nil
	}
	m, err := readEmbeddingManifest(t.folder, shard, t.info.Fingerprint, &t.dataset.shards[shard])
	if err != nil {
		return nil, err
	}
	rows := map[int]unusable{}
	for _, v := range m.Invalid {
		u := rows[v.Row]
		if v.Mirror {
			u.mirror = v.Reason
		} else {
			u.plain = v.Reason
		}
		rows[v.Row] = u
	}
	return rows, nil
}
