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

	"facepipe/ingest/align"
	"facepipe/internal/filedigest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/internal/webdataset"
)

// webDataset is one WebDataset shard, those in a folder, or those that a pattern with braces or
// wildcards names. The photographs of a sample are items, see [photographs]. An item's key is the
// shard's name without .tar, .tar.gz or .tar.zst, a slash, and the image's name within the shard.
// The sample's other members describe its images, see [readLabels]. Where they cannot be read the
// image is not read either: it would lose its identity silently.
//
// A shard that is missing or damaged is an item that cannot be read. So is every damage within
// a shard; reading goes on at the next sound header. So is a sample without a photograph.
type webDataset struct {
	namespace string
	shards    []tarShard
	digest    string
	order     align.Order // of the numbers of landmarks
	folders   folderNames

	opened, walked []string    // notices
	progress       tarProgress // of the walk
}

// tarShard is where a shard is, and its part of the keys. It is opened when it is first walked.
type tarShard struct {
	path, name string
	shard      *webdataset.Shard
}

// maxShardImages bounds the names that are remembered, so that one that comes twice is noticed.
const maxShardImages = 1 << 25

var webDatasetKind = kind{
	name:     "webdataset",
	argument: "TARS",
	about: `a .tar, .tar.gz or .tar.zst, a folder of them, or a pattern such
as 'train-{00..99}.tar' or 'train-*.tar'; beside the photograph of
a sample .cls (an integer; identities are FOLDER/LABEL), .json
(identity or label, landmarks, box, split; other fields are
attributes) and .txt (an attribute); without labels identities are
the folders in the archive. Masks (.seg.png) are left out`,
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
	if err := s.probe(ctx); err != nil {
		return nil, err
	}
	if len(paths) == 1 && paths[0] == path {
		file, _, err := regular.OpenInput(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		s.digest, err = filedigest.OfFile(ctx, file)
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
	case !errors.Is(err, fs.ErrNotExist) || !webdataset.HasBraces(path) && !hasWildcard(path):
		return "", nil, regular.Reason(err)
	}
	expanded := []string{path}
	if webdataset.HasBraces(path) {
		if expanded, err = webdataset.Expand(path); err != nil {
			return "", nil, err
		}
	}
	for _, p := range expanded {
		if !hasWildcard(p) {
			paths = append(paths, p)
			continue
		}
		found, err := matchShards(p)
		if err != nil {
			return "", nil, err
		}
		paths = append(paths, found...)
	}
	return filepath.Dir(path[:strings.IndexAny(path, "{*?[")] + "."), paths, nil
}

// hasWildcard says whether a path may be a pattern for [filepath.Match].
func hasWildcard(path string) bool { return strings.ContainsAny(path, "*?[") }

// matchShards lists the shards that a pattern with wildcards matches, in the byte order of names.
func matchShards(pattern string) ([]string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %s: %w", pattern, err)
	}
	looked := len(found)
	found = slices.DeleteFunc(found, func(path string) bool { return !isShardName(filepath.Base(path)) || isFolder(path) })
	if len(found) == 0 {
		return nil, fmt.Errorf("%s matches no .tar, .tar.gz or .tar.zst (%d other files)", pattern, looked)
	}
	return found, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isShardName says whether a file is a shard, by its name.
func isShardName(name string) bool { return !housekeeping(name) && trimShardSuffix(name) != name }

// shardsIn lists the shards in a folder itself, in the byte order of names.
func shardsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", regular.Reason(err))
	}
	var paths []string
	for _, e := range entries {
		if isShardName(e.Name()) && !e.IsDir() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .tar, .tar.gz or .tar.zst in it (%d files looked at)", len(entries))
	}
	return paths, nil
}

func trimShardSuffix(name string) string {
	for _, suffix := range webdataset.Suffixes() {
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

func (s *webDataset) Notices() []string { return slices.Concat(s.opened, s.walked) }

func (s *webDataset) Walk(ctx context.Context, visit func(Item) error) error {
	var left leftOut
	for i := range s.shards {
		w := shardWalk{source: s, shard: &s.shards[i], visit: visit, left: &left, images: map[uint64]struct{}{}}
		s.enter(i, func() *webdataset.Shard { return s.shards[i].shard })
		if err := w.run(ctx); err != nil {
			return err
		}
	}
	s.walked = left.notices()
	return nil
}

// shardWalk is the walk over one shard.
type shardWalk struct {
	source *webDataset
	shard  *tarShard
	visit  func(Item) error
	// labels is called for the labels of an image before their landmarks and folder are judged;
	// nil without need.
	labels  func(m *webdataset.Member, l labels)
	left    *leftOut
	images  map[uint64]struct{} // hashes of the names met
	stopped error               // by visit
}

func (w *shardWalk) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := w.shard.open()
	if err == nil {
		err = w.shard.shard.Walk(ctx, webdataset.Visitor{Hold: w.hold, Sample: w.sample, Damage: w.damage})
	}
	switch {
	case w.stopped != nil:
		return w.stopped
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return w.fault("", regular.Reason(err))
	}
	return nil
}

// open looks at the shard's file, once, so that it is looked through only once.
func (s *tarShard) open() error {
	if s.shard != nil {
		return nil
	}
	file, _, err := regular.OpenInput(s.path)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	s.shard, err = webdataset.Open(s.path)
	return err
}

// hold keeps labels in memory, which are needed at once, and images that are expensive to go
// back to.
func (w *shardWalk) hold(m *webdataset.Member) bool {
	return isLabel(m) && m.Size <= maxLabelBytes || isImage(m) && w.shard.shard.Compressed()
}

func (w *shardWalk) damage(d webdataset.Damage) error {
	return w.fault(fmt.Sprintf("@%d", d.Offset), fmt.Errorf("%w; %d bytes passed over", d.Err, d.Length))
}

// fault visits what cannot be read.
func (w *shardWalk) fault(place string, err error) error {
	return w.item(Item{Key: w.shard.name + "/" + place, Read: fails(err)})
}

func (w *shardWalk) item(item Item) error {
	w.stopped = w.visit(item)
	return w.stopped
}

// sample visits the photographs of a sample.
func (w *shardWalk) sample(s webdataset.Sample) error {
	s.Members = slices.DeleteFunc(s.Members, func(m webdataset.Member) bool { return isHousekeeping(m.Name) })
	photos := photographs(&s, w.left)
	for _, m := range photos {
		l, fault := readLabels(w.shard.shard, &s, m, w.source.namespace)
		if s.Fault != nil {
			fault = s.Fault
		}
		if err := w.image(m, l, fault); err != nil {
			return err
		}
	}
	if len(photos) > 0 {
		return nil
	}
	if err := lacksImage(&s); err != nil {
		return w.fault(escapeName(s.Members[0].Name), err)
	}
	return nil
}

// image visits one image; fault is why its sample cannot be used, nil if it can.
func (w *shardWalk) image(m *webdataset.Member, l labels, fault error) error {
	if w.labels != nil && fault == nil {
		w.labels(m, l)
	}
	if l.item.Landmarks != nil {
		face := w.source.order.Face(l.item.Landmarks.Numbers())
		l.item.Landmarks = &face
	}
	if fault == nil {
		fault = w.source.folders.name(&l, m, w.source.namespace)
	}
	item := l.item
	item.Key = w.shard.name + "/" + escapeName(m.Name)
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
	item.Read = w.shard.reader(m, fault)
	item.Held = m.Held()
	return w.item(item)
}

// reader reads a member; fault is why it is not to be used.
func (s *tarShard) reader(m *webdataset.Member, fault error) func(imgcodec.Admit) ([]byte, error) {
	shard := s.shard
	return func(admit imgcodec.Admit) ([]byte, error) {
		if m.Fault != nil {
			return nil, m.Fault
		}
		if fault != nil {
			return nil, fault
		}
		data, err := shard.Read(m, admit)
		return data, regular.Reason(err)
	}
}
