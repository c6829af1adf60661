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
		if err := sameTeacher(first.folder, first.info, cache.folder, cache.info); err != nil {
			return fmt.Errorf("%w; leave teachers out, or embed one of the two under another name", err)
		}
		t.from[i] = cache
	}
	if complete && first != nil {
		t.info = first.info
		m.teachers = append(m.teachers, t)
	}
	return nil
}

// sameTeacher refuses two caches whose embeddings do not go together; a and b are what
// they are called.
func sameTeacher(a string, x TeacherInfo, b string, y TeacherInfo) error {
	if x.Fingerprint == y.Fingerprint && x.Dim == y.Dim && x.DType == y.DType && x.Flip == y.Flip {
		return nil
	}
	return fmt.Errorf("%w: %s has %s (%s, %s, dim %d, flip %t), %s has %s (%s, %s, dim %d, flip %t)", ErrFingerprint,
		a, x.Fingerprint, x.ModelFile, x.DType, x.Dim, x.Flip,
		b, y.Fingerprint, y.ModelFile, y.DType, y.Dim, y.Flip)
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
	copier  embeddingCopier
	// ids are the crops that have an embedding; at[i] is where that of number i lies.
	ids keyTable
	at  []inputRow
}

func (m *merge) mergeTeacher(merged *Dataset, t *teacherMerge) (err error) {
	w, err := merged.CreateTeacher(t.info)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	c := &teacherCopy{merge: m, dataset: merged, teacher: t, writer: w, copier: embeddingCopier{from: t.from}}
	defer func() { err = errors.Join(err, c.copier.close()) }()
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
	if report.Missing < merged.Rows() {
		if err := c.adoptRuns(); err != nil {
			return err
		}
	}
	if report.Missing > 0 {
		m.note("teacher %s: %d crops are in shards that lack an embedding in the inputs, and are still to be embedded", t.info.Name, report.Missing)
	}
	m.summary.Teachers = append(m.summary.Teachers, report)
	return nil
}

// adoptRuns takes over the records of the runs that the embeddings come from.
func (c *teacherCopy) adoptRuns() error {
	for _, t := range c.teacher.from {
		if t == nil {
			continue
		}
		if _, err := c.writer.AdoptRuns(t.runs()); err != nil {
			return err
		}
	}
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
		if err := c.copier.copy(w, at); err != nil {
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
