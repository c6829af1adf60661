package protocol

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"facepipe/eval/faces"
	"facepipe/eval/pairlist"
)

// OfBin are the pairs of a verification set, in ten contiguous folds where each has both kinds.
// Pairs with images that cannot be decoded are an error that names these, or left out.
func OfBin(ctx context.Context, bin *faces.Bin, o Options) (Verification, error) {
	d := bin.Describe()
	if broken := bin.Broken(); len(broken) > 0 && !o.AllowMissing {
		first := broken[0]
		return nil, fmt.Errorf("verification set %s: %d images cannot be decoded (--allow-missing leaves their pairs out): %s: %w", d.Path, len(broken), first.Key, first.Err)
	}
	list, err := pairlist.Make(pairlist.Bin, func(add func(a, b string, same bool, set int) error) error {
		return bin.EachPair(func(a, b string, same bool) error { return add(a, b, same, -1) })
	})
	if err != nil {
		return nil, fmt.Errorf("verification set %s: %w", d.Path, err)
	}
	list.Digest = d.Digest
	list.Notes = append(list.Notes, fmt.Sprintf("the file names nobody: its pairs tell of %d persons; one of them may be several of these, and intervals may be too narrow", bin.Identities()))
	return Listed(ctx, bin, d.Path, list, o)
}

// NameOf is what a test on a file is called: lfw of sets/lfw.bin.
func NameOf(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}
