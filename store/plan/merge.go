package plan

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"facepipe/internal/durable"
	"facepipe/store/cache"
	"facepipe/store/internal/table"
)

// mergeFile is in the folder of a plan whose merge makes a dataset.
const mergeFile = "merge.json"

// MergeState is how far the merge of a plan's parts into a dataset has come.
type MergeState struct {
	// Digest of the dataset that it has made, "" if it has only begun.
	Digest string `json:"digest,omitempty"`
	// Cleared says that the parts were deleted after it, or are being deleted.
	Cleared bool `json:"cleared,omitempty"`
}

type mergeStateDoc struct {
	table.Header
	MergeState
}

// WriteMergeState writes into a plan's folder how far its merge has come.
func WriteMergeState(plan string, m MergeState) error {
	data, err := table.EncodeSealed(mergeStateDoc{Header: table.HeaderOf(table.FormatPlanMerge), MergeState: m})
	if err != nil {
		return fmt.Errorf("encode %s: %w", mergeFile, err)
	}
	return durable.WriteFile(filepath.Join(plan, mergeFile), data, table.FileMode)
}

// ReadMergeState reads how far the merge of a plan has come; nil if it never began.
func ReadMergeState(plan string) (*MergeState, error) {
	var doc mergeStateDoc
	err := table.ReadSealed(filepath.Join(plan, mergeFile), table.FormatPlanMerge, &doc)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return &doc.MergeState, err
}

// RemovePart deletes the dataset that a worker has made of its part of a plan, if it is
// there.
func RemovePart(dir string) (cache.Removed, error) {
	parts := filepath.Dir(dir)
	if err := durable.NoLinks(filepath.Dir(parts), filepath.Join(filepath.Base(parts), filepath.Base(dir))); err != nil {
		return cache.Removed{}, err
	}
	r, err := cache.CountFiles(dir)
	if errors.Is(err, os.ErrNotExist) {
		return cache.Removed{}, nil
	}
	if err != nil {
		return cache.Removed{}, err
	}
	return r, os.RemoveAll(dir)
}
