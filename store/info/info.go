// Package info says what a dataset and its teacher caches hold, by what is cheap to read:
// manifests and the columns that describe crops, no image, no embedding and no derived table.
//
// It gathers what the wings say of themselves. A damaged file of the crops ends it with
// [store.ErrDamaged]; one of a teacher cache is told in the end, with all else said. An index, class
// centres, neighbours or an alignment that are damaged are only reported.
package info

import (
	"context"
	"errors"
	"fmt"

	"facepipe/store"
)

// Info says what a dataset holds.
type Info struct {
	Dataset string `json:"dataset"`
	// Digest is [store.Dataset.Digest], FormatVersion that of dataset.json.
	Digest        string         `json:"digest"`
	FormatVersion int            `json:"format_version"`
	Contract      store.Contract `json:"contract"`
	Rows          int            `json:"rows"`
	Shards        int            `json:"shards"`
	// UnlistedShards were committed by an interrupted ingest and are not counted here.
	UnlistedShards int `json:"unlisted_shards,omitempty"`
	Duplicates     int `json:"duplicates"`
	// CropBytes is the size of the crop shards, without manifests.
	CropBytes int64 `json:"crop_bytes"`
	// Encodings counts the crops by the format of their images.
	Encodings map[string]int `json:"encodings"`
	// Splits counts the crops by their split, "" for those in none. After the first
	// thousand, further splits are counted together as "...".
	Splits     map[string]int        `json:"splits"`
	Sources    []store.SourceContent `json:"sources"`
	Identities store.IdentityInfo    `json:"identities"`
	Rejects    []store.StageRejects  `json:"rejects"`
	// Teachers are the caches that can be opened; nil if the crops could not be read.
	Teachers []Cache `json:"teachers"`
	// Index is current, outdated, missing or damaged. Its files are not read.
	Index      string `json:"index"`
	IndexBytes int64  `json:"index_bytes"`
}

// Read looks at all manifests of the dataset in dir and at what describes the crops,
// not at images and embeddings. It builds no index. An error may come with all that could be read:
// see [Info.Teachers].
func Read(ctx context.Context, dir string, options ...store.Option) (Info, error) {
	info, err := readInfo(ctx, dir, options)
	if err != nil {
		return info, fmt.Errorf("read info of %s: %w", dir, err)
	}
	return info, nil
}

func readInfo(ctx context.Context, dir string, options []store.Option) (info Info, err error) {
	d, err := store.Open(dir, options...)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	t, err := d.Tallies(ctx)
	info = Info{
		Dataset: dir, Digest: d.Digest(), FormatVersion: d.FormatVersion(), Contract: d.Contract(),
		Rows: d.Rows(), Shards: d.Shards(), Duplicates: d.Duplicates(),
		CropBytes: t.CropBytes, Encodings: t.Encodings, Splits: t.Splits, Sources: t.Sources,
		Identities: t.Identities, Rejects: t.Rejects,
	}
	if err != nil {
		return info, err
	}
	unlisted, err := d.Unlisted()
	if err != nil {
		return info, err
	}
	info.UnlistedShards = len(unlisted)
	info.Index, info.IndexBytes = d.IndexState()
	info.Teachers, err = caches(d)
	return info, err
}
