package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"

	"facepipe/ingest/align"
	"facepipe/internal/webdataset"
)

// probeImages is how many images tell what a source's labels are like, unless fewer are there.
const probeImages = 1000

// probe looks for an image that can be read, and finds by the first images in what order the
// numbers of landmarks are and whether folders are people.
func (s *webDataset) probe(ctx context.Context) error {
	p := prober{source: s, done: errors.New("done")}
	for i := range s.shards {
		p.folders.first = ""
		w := shardWalk{source: s, shard: &s.shards[i], visit: p.visit, labels: p.labels, left: &leftOut{}, images: map[uint64]struct{}{}}
		if err := w.run(ctx); err != nil && !errors.Is(err, p.done) {
			return err
		}
		if p.found && p.images >= probeImages {
			break
		}
	}
	switch {
	case !p.found && p.fault != nil:
		return fmt.Errorf("no image that can be read in %d shards; first %w", len(s.shards), p.fault)
	case !p.found:
		return fmt.Errorf("no image in it (%d shards looked at)", len(s.shards))
	}
	var err error
	if s.order, err = align.Recognise(p.points); err != nil {
		return fmt.Errorf("its landmarks: %w", err)
	}
	s.folders = p.folders.judge()
	s.opened = append(orderNotice(s.order), s.folders.notices()...)
	return nil
}

// prober is told the first items of a source.
type prober struct {
	source  *webDataset
	done    error
	found   bool
	fault   error // of the first item that cannot be read
	images  int
	points  [][]float64
	folders folderVote
}

func (p *prober) visit(item Item) error {
	if !p.found {
		_, err := item.Read(func(int64, []byte) error { return errProbed })
		p.found = err == nil || errors.Is(err, errProbed)
		if !p.found && p.fault == nil {
			p.fault = fmt.Errorf("%s: %w", item.Key, err)
		}
	}
	// As long as all images lie in one folder, the shard may have another.
	if p.found && p.images >= probeImages && p.folders.others {
		return p.done
	}
	return nil
}

// errProbed ends the reading of an image that was only to be looked at.
var errProbed = errors.New("can be read")

func (p *prober) labels(m *webdataset.Member, l labels) {
	p.images++
	if l.item.Landmarks != nil && len(p.points) < orderRows {
		p.points = append(p.points, l.item.Landmarks.Numbers())
	}
	p.folders.add(m, l, p.source.namespace)
}

// folderVote counts how the labels of images and the folders that they lie in go together.
type folderVote struct {
	images, labelled, whole, base int
	unnamed                       int    // of those in a folder
	first                         string // folder of the shard
	others                        bool   // a shard has
	example                       string
}

func (v *folderVote) add(m *webdataset.Member, l labels, namespace string) {
	if m.Fault != nil {
		return
	}
	v.images++
	folder := folderIn(m)
	v.first, v.example = cmp.Or(v.first, folder), cmp.Or(v.example, folder)
	v.others = v.others || folder != v.first
	if !l.named() {
		if folder != "" {
			v.unnamed++
		}
		return
	}
	v.labelled++
	if folder != "" && l.item.Identity == (folderNames{whole: true}).identity(folder, namespace) {
		v.whole++
	}
	if folder != "" && l.item.Identity == (folderNames{}).identity(folder, namespace) {
		v.base++
	}
}

// judge takes folders for people if a shard has several, and labels name the same people or are
// rare. One folder a shard may be the shard's own name.
func (v *folderVote) judge() folderNames {
	same := max(v.whole, v.base)
	f := folderNames{example: v.example, alone: v.labelled == 0, whole: v.whole >= v.base}
	f.people = v.others && (2*v.labelled < v.images || 2*same >= v.labelled)
	f.one = !f.people && v.labelled == 0 && v.unnamed > 0
	f.nameless = !f.people && v.labelled > 0 && v.unnamed > 0
	return f
}

// folderNames says whether the folders within the archives name people, and how.
type folderNames struct {
	// people says that they do: to images without a label they are the identity, and a label of
	// another name contradicts them.
	people bool
	// whole says that the identity is the whole path of the folder, otherwise its last part.
	whole bool

	example              string
	alone, one, nameless bool
}

func (f folderNames) notices() []string {
	switch {
	case f.people && f.alone:
		return []string{fmt.Sprintf("no .cls or .json names people: identities are the folders in the archives, such as %s", escapeName(f.example))}
	case f.people:
		return []string{fmt.Sprintf("identities of images without a label are the folders in the archives, such as %s", escapeName(f.example))}
	case f.one:
		return []string{fmt.Sprintf("no .cls or .json names people, and the images of an archive lie in one folder, such as %s: there are no identities", escapeName(f.example))}
	case f.nameless:
		return []string{"labels name other people than the folders in the archives do: images without a label have no identity"}
	}
	return nil
}

// folderIn is the folder of the archive that a member lies in, "" for none.
func folderIn(m *webdataset.Member) string {
	if dir := path.Dir(m.Name); dir != "." {
		return dir
	}
	return ""
}

// identity is the person that a folder names.
func (f folderNames) identity(folder, namespace string) string {
	if !f.whole {
		folder = path.Base(folder)
	}
	return personOf(folder, namespace)
}

// name gives the labels of an image the identity of its folder. It is an error if they have
// another.
func (f folderNames) name(l *labels, m *webdataset.Member, namespace string) error {
	folder := folderIn(m)
	if !f.people || folder == "" {
		return nil
	}
	person := f.identity(folder, namespace)
	switch {
	case !l.named():
		l.item.Identity = person
	case l.item.Identity != "" && l.item.Identity != person:
		return fmt.Errorf("its label names %s, its folder %s", l.item.Identity, person)
	}
	return nil
}
