package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Info says what a dataset holds.
type Info struct {
	Dataset string `json:"dataset"`
	// Digest is [Dataset.Digest], FormatVersion that of dataset.json.
	Digest        string   `json:"digest"`
	FormatVersion int      `json:"format_version"`
	Contract      Contract `json:"contract"`
	Rows          int      `json:"rows"`
	Shards        int      `json:"shards"`
	Duplicates    int      `json:"duplicates"`
	// CropBytes is the size of the crop shards, without manifests.
	CropBytes int64 `json:"crop_bytes"`
	// Encodings counts the crops by the format of their images.
	Encodings map[string]int `json:"encodings"`
	// Splits counts the crops by their split, "" for those in none. After the first
	// thousand, further splits are counted together as "...".
	Splits     map[string]int  `json:"splits"`
	Sources    []SourceContent `json:"sources"`
	Identities IdentityInfo    `json:"identities"`
	Rejects    []StageRejects  `json:"rejects"`
	Teachers   []TeacherState  `json:"teachers"`
	// Index is current, outdated, missing or damaged. Its files are not read.
	Index      string `json:"index"`
	IndexBytes int64  `json:"index_bytes"`
}

// SourceContent is what came from one source.
type SourceContent struct {
	SourceInfo
	Rows       int `json:"rows"`
	Duplicates int `json:"duplicates"`
	Rejects    int `json:"rejects"`
}

// ReadInfo looks at all manifests of the dataset in dir and at what describes the crops,
// not at images and embeddings. It builds no index.
func ReadInfo(ctx context.Context, dir string, options ...Option) (Info, error) {
	info, err := readInfo(ctx, dir, options)
	if err != nil {
		return info, fmt.Errorf("read info of %s: %w", dir, err)
	}
	return info, nil
}

func readInfo(ctx context.Context, dir string, options []Option) (info Info, err error) {
	d, err := Open(dir, options...)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	info = Info{
		Dataset: dir, Digest: d.Digest(), FormatVersion: d.doc.Version, Contract: d.Contract(),
		Rows: d.Rows(), Shards: d.Shards(), Duplicates: d.Duplicates(),
		Encodings: map[string]int{}, Splits: map[string]int{}, Rejects: []StageRejects{}, Teachers: []TeacherState{},
	}
	for _, s := range d.Sources() {
		info.Sources = append(info.Sources, SourceContent{SourceInfo: s})
	}
	t := tally{dataset: d, info: &info, images: make([]int, d.Identities())}
	for shard := range d.Shards() {
		if err := ctx.Err(); err != nil {
			return info, err
		}
		if err := t.shard(shard); err != nil {
			return info, err
		}
	}
	info.Identities = identityInfo(t.images, t.nameless)
	info.Rejects = t.rejects.list()
	info.Index, info.IndexBytes = d.indexState()
	info.Teachers, err = d.teacherStates()
	return info, err
}

// tally counts what the shards of a dataset hold.
type tally struct {
	dataset  *Dataset
	info     *Info
	images   []int // of each identity
	nameless int   // crops without an identity
	rejects  rejectTally
}

func (t *tally) shard(i int) error {
	m, err := t.dataset.readManifest(i)
	if err != nil {
		return err
	}
	path := filepath.Join(t.dataset.dir, cropsFolder, manifestName(i))
	for _, dup := range m.Duplicates {
		s, err := t.source(path, dup.Source)
		if err != nil {
			return err
		}
		s.Duplicates++
	}
	for _, r := range m.Rejects {
		s, err := t.source(path, r.Source)
		if err != nil {
			return err
		}
		s.Rejects++
		t.rejects.add(r.Stage, r.Reason)
	}
	if m.File != nil {
		t.info.CropBytes += m.File.Bytes
	}
	f, err := t.dataset.openCrops(i)
	if err != nil {
		return err
	}
	return f.eachColumns(func(c *cropColumns) error {
		for k := range c.rows() {
			if err := t.crop(f.path, c, k); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tally) crop(path string, c *cropColumns, k int) error {
	s, err := t.source(path, int(c.source.Value(k)))
	if err != nil {
		return err
	}
	s.Rows++
	t.info.Encodings[string(encodingOf(c.encoding.Value(k)))]++
	t.split(c.splitAt(k))
	switch label := int(c.label.Value(k)); {
	case label == int(NoLabel):
		t.nameless++
	case label < 0 || label >= len(t.images):
		return damaged(path, "crop %q has label %d of %d", c.key.Value(k), label, len(t.images))
	default:
		t.images[label]++
	}
	return nil
}

// maxSplitsCounted bounds what names of splits take: a file may give each row its own.
const maxSplitsCounted = 1000

func (t *tally) split(name string) {
	if _, known := t.info.Splits[name]; !known && len(t.info.Splits) >= maxSplitsCounted {
		name = "..."
	}
	t.info.Splits[strings.Clone(name)]++
}

func (t *tally) source(path string, number int) (*SourceContent, error) {
	if number < 0 || number >= len(t.info.Sources) {
		return nil, damaged(path, "names source %d of %d", number, len(t.info.Sources))
	}
	return &t.info.Sources[number], nil
}

// indexState says what is known of the index without reading it.
func (d *Dataset) indexState() (state string, bytes int64) {
	var doc builtDoc
	err := readSealed(filepath.Join(d.dir, indexFolder, builtName), formatIndex, &doc)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "missing", 0
	case err != nil:
		return "damaged", 0
	}
	for _, f := range doc.Files {
		bytes += f.Bytes
	}
	if doc.Dataset != d.doc.Digest {
		return "outdated", bytes
	}
	return "current", bytes
}
