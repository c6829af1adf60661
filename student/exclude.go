package student

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"facepipe/student/data"
)

// FileList is paths of files. As the value of a flag that is given several times they add up.
type FileList []string

// GetSlice lists the paths.
func (l *FileList) GetSlice() []string { return *l }

// Replace makes paths the list.
func (l *FileList) Replace(paths []string) error {
	*l = slices.Clone(paths)
	return nil
}

// Append adds a path.
func (l *FileList) Append(path string) error { return l.Set(path) }

// Set adds a path.
func (l *FileList) Set(path string) error {
	if path == "" {
		return errors.New("a file has a name")
	}
	*l = append(*l, path)
	return nil
}

func (l *FileList) String() string { return strings.Join(*l, ",") }

// Type is what a flag's help calls a value.
func (*FileList) Type() string { return "file" }

// UnmarshalYAML reads one path, or a list.
func (l *FileList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(l))
	}
	var path string
	if err := n.Decode(&path); err != nil {
		return err
	}
	*l = FileList{path}
	return nil
}

// excludedRows is what run.json has of the crops that were not trained on.
type excludedRows struct {
	// Digest is that of their rows, see [data.Exclusion].
	Digest string `json:"digest"`
	// Crops that are excluded, of those of the split.
	Crops int `json:"crops"`
}

// choose settles which crops of the split are trained on.
func (r *run) choose(ctx context.Context) error {
	if err := r.exclude(ctx); err != nil || r.o.Fraction == 1 {
		return err
	}
	sampled, n, of, err := r.excluded.Sample(ctx, r.ds, r.o.Split, r.o.Fraction)
	if err != nil {
		return err
	}
	r.notes = append(r.notes, fmt.Sprintf("fraction %g: %d of %d crops, the same for every seed", r.o.Fraction, n, of))
	r.excluded, r.sampled = sampled, of-n
	return nil
}

// exclude reads the lists of what is not to be trained on. Lists that take nothing out are
// as none.
func (r *run) exclude(ctx context.Context) (err error) {
	if len(r.o.Exclude) == 0 {
		return nil
	}
	if r.excluded, err = data.Exclude(ctx, r.ds, r.o.Exclude); errors.Is(err, data.ErrOptions) {
		return usage(err)
	} else if err != nil {
		return err
	}
	r.notes = append(r.notes, r.excluded.Describe()...)
	if len(r.excluded.Rows) > 0 {
		r.manifest.Exclude = &excludedRows{Digest: r.excluded.Digest()}
	}
	return nil
}
