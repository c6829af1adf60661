package source

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/internal/webdataset"
)

// webDataset is one WebDataset shard, those in a folder, or those that a pattern with braces
// names. Every image of a sample is an item. Its key is the shard's name without .tar or
// .tar.gz, a slash, and the image's name within the shard. The sample's other members describe
// its images, see [readLabels]. Where they cannot be read the image is not read either: it
// would lose its identity silently.
//
// A shard that is missing or damaged is an item that cannot be read. So is every damage within
// a shard; reading goes on at the next sound header.
type webDataset struct {
	namespace string
	shards    []tarShard
	digest    string
	progress  tarProgress // of the walk
}

// tarShard is where a shard is, and its part of the keys.
type tarShard struct{ path, name string }

// maxShardImages bounds the names that are remembered, so that one that comes twice is noticed.
const maxShardImages = 1 << 25

var webDatasetKind = kind{
	name:     "webdataset",
	argument: "TARS",
	about: `a .tar or .tar.gz, a folder of them, or a pattern such as
'train-{00..99}.tar'; beside the images of a sample .cls (an
integer; identities are FOLDER/LABEL), .json (identity or label,
landmarks, box, split; other fields are attributes) and .txt (an
attribute)`,
	open:           openWebDataset,
	numberedPeople: true,
}

func openWebDataset(ctx context.Context, path string) (Source, error) {
	s := &webDataset{namespace: Namespace(path)}
	root, paths, err := shardPaths(path)
	if err != nil {
		return nil, err
	}
	if s.shards, err = nameShards(root, paths); err != nil {
		return nil, err
	}
	if err := s.requireImage(ctx); err != nil {
		return nil, err
	}
	if len(paths) == 1 && paths[0] == path {
		file, _, err := openRegular(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		s.digest, err = digestFile(ctx, file)
		return s, err
	}
	return s, nil
}

// shardPaths are the shards that path means, and the folder that their names are relative to. A
// file that exists is never taken for a pattern.
func shardPaths(path string) (root string, paths []string, err error) {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		paths, err := shardsIn(path)
		return path, paths, err
	case err == nil:
		return filepath.Dir(path), []string{path}, nil
	case !errors.Is(err, fs.ErrNotExist) || !webdataset.HasBraces(path):
		return "", nil, reason(err)
	}
	if paths, err = webdataset.Expand(path); err != nil {
		return "", nil, err
	}
	before, _, _ := strings.Cut(path, "{")
	return filepath.Dir(before + "."), paths, nil
}

// shardsIn lists the shards in a folder itself, in the byte order of names.
func shardsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", reason(err))
	}
	var paths []string
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, ".") && trimShardSuffix(name) != name && !e.IsDir() {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .tar, .tar.gz or .tgz in it (%d files looked at)", len(entries))
	}
	return paths, nil
}

func trimShardSuffix(name string) string {
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz"} {
		if len(name) > len(suffix) && strings.EqualFold(name[len(name)-len(suffix):], suffix) {
			return name[:len(name)-len(suffix)]
		}
	}
	return name
}

// nameShards gives shards their parts of the keys, which must differ.
func nameShards(root string, paths []string) ([]tarShard, error) {
	shards := make([]tarShard, len(paths))
	byName := map[string]string{}
	for i, path := range paths {
		name, err := filepath.Rel(root, path)
		if err != nil {
			return nil, err
		}
		name = escapeName(trimShardSuffix(filepath.ToSlash(name)))
		if other, taken := byName[name]; taken {
			return nil, fmt.Errorf("images of %s and %s would have the same keys", other, path)
		}
		byName[name] = path
		shards[i] = tarShard{path: path, name: name}
	}
	for _, s := range shards {
		// An image b/0.jpg in a.tar has the key of 0.jpg in a/b.tar.
		for at := 0; at < len(s.name); at++ {
			if other, taken := byName[s.name[:at]]; taken && s.name[at] == '/' {
				return nil, fmt.Errorf("images of %s and %s may have the same keys", other, s.path)
			}
		}
	}
	return shards, nil
}

func (s *webDataset) Digest() string { return s.digest }
func (*webDataset) Close() error     { return nil }

// requireImage looks for one image that can be read.
func (s *webDataset) requireImage(ctx context.Context) error {
	found := errors.New("found")
	var fault error
	err := s.Walk(ctx, func(item Item) error {
		_, err := item.Read()
		if err == nil {
			return found
		}
		if fault == nil {
			fault = fmt.Errorf("%s: %w", item.Key, err)
		}
		return nil
	})
	switch {
	case errors.Is(err, found):
		return nil
	case err != nil:
		return err
	case fault != nil:
		return fmt.Errorf("no image that can be read in %d shards; first %w", len(s.shards), fault)
	}
	return fmt.Errorf("no image in it (%d shards looked at)", len(s.shards))
}

func (s *webDataset) Walk(ctx context.Context, visit func(Item) error) error {
	for i, shard := range s.shards {
		w := shardWalk{name: shard.name, namespace: s.namespace, visit: visit, images: map[uint64]struct{}{}}
		s.enter(i, func() *webdataset.Shard { return w.shard })
		if err := w.run(ctx, shard.path); err != nil {
			return err
		}
	}
	return nil
}

// shardWalk is the walk over one shard.
type shardWalk struct {
	name, namespace string
	visit           func(Item) error
	shard           *webdataset.Shard
	images          map[uint64]struct{} // hashes of the names met
	stopped         error               // by visit
}

func (w *shardWalk) run(ctx context.Context, path string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if w.shard, err = webdataset.Open(path); err == nil {
		err = w.shard.Walk(ctx, webdataset.Visitor{Hold: w.hold, Sample: w.sample, Damage: w.damage})
	}
	switch {
	case w.stopped != nil:
		return w.stopped
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return w.fault("", reason(err))
	}
	return nil
}

// hold keeps labels in memory, which are needed at once, and images that are expensive to go
// back to.
func (w *shardWalk) hold(m *webdataset.Member) bool {
	return isLabel(m) && m.Size <= maxLabelBytes || isImage(m) && w.shard.Compressed()
}

// isImage says whether a member is an image by its last extension.
func isImage(m *webdataset.Member) bool {
	_, kind := splitExtension(m)
	return slices.Contains([]string{"jpg", "jpeg", "png", "webp", "bmp"}, kind)
}

func (w *shardWalk) damage(d webdataset.Damage) error {
	return w.fault(fmt.Sprintf("@%d", d.Offset), fmt.Errorf("%w; %d bytes passed over", d.Err, d.Length))
}

// fault visits what cannot be read.
func (w *shardWalk) fault(place string, err error) error {
	return w.item(Item{Key: w.name + "/" + place, Read: func() ([]byte, error) { return nil, err }})
}

func (w *shardWalk) item(item Item) error {
	w.stopped = w.visit(item)
	return w.stopped
}

// sample visits the images of a sample.
func (w *shardWalk) sample(s webdataset.Sample) error {
	images := 0
	for i := range s.Members {
		if !isImage(&s.Members[i]) {
			continue
		}
		images++
		l, fault := readLabels(w.shard, &s, &s.Members[i], w.namespace)
		if s.Fault != nil {
			fault = s.Fault
		}
		if err := w.image(&s.Members[i], l, fault); err != nil {
			return err
		}
	}
	if first := &s.Members[0]; images == 0 && labelled(&s) {
		return w.fault(escapeName(first.Name), errors.New("sample has a label and no image"))
	}
	return nil
}

// image visits one image; fault is why its sample cannot be used, nil if it can.
func (w *shardWalk) image(m *webdataset.Member, l labels, fault error) error {
	item := l.item
	item.Key = w.name + "/" + escapeName(m.Name)
	sum := sha256.Sum256([]byte(m.Name))
	name := binary.BigEndian.Uint64(sum[:])
	_, again := w.images[name]
	switch {
	case again:
		// The first has the key.
		item.Key += fmt.Sprintf("@%d", m.Offset())
		fault = errors.New("its name is in the archive twice")
	case len(w.images) == maxShardImages:
		fault = fmt.Errorf("archive has more than %d images", maxShardImages)
	default:
		w.images[name] = struct{}{}
	}
	shard := w.shard
	item.Read = func() ([]byte, error) {
		if m.Fault != nil {
			return nil, m.Fault
		}
		if fault != nil {
			return nil, fault
		}
		if err := checkSize(m.Size); err != nil {
			return nil, err
		}
		data, err := shard.Read(m)
		return data, reason(err)
	}
	item.Held = m.Held()
	return w.item(item)
}
