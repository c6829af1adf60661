package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
	"facepipe/internal/recordio"
	"facepipe/internal/regular"
)

// recordIO is a .rec file of MXNet, in insightface's layout or in im2rec's, with the files beside
// it that have its name.
//
// The .rec alone says which records there are. All are walked over, in the order of the file. A
// .idx only gives them their keys, see [indexKeys]. Without a sound .idx they are numbered, see
// [positionKeys]. Records without an image that have insightface's two labels (record 0,
// identities) are no items.
//
// An image's identity is its own label, the first of a vector, behind the folder's name and a
// slash. A negative label is no identity. Of vectors longer than insightface's that is a guess,
// and a notice. The vectors that im2rec packs for object detection name no people and are refused. insightface's ranges of keys are not used: they are
// float32 and may be off above 2^24. They are compared with the labels, and a difference is a
// notice.
//
// A .lst adds the attribute "path". Its landmarks and box are those of the photograph before
// insightface aligned it, but a record usually holds the aligned crop. They are used only if
// the record's image is a photograph still: larger than a crop and of another size than the
// property file says, with all landmarks inside.
type recordIO struct {
	path      string
	file      *os.File
	size      int64
	namespace string

	index  []recordio.Entry // by offset; nil to number records
	first  uint64           // key of the first record, if they are numbered
	images uint64           // insightface's: keys of images are below; 0 if not known
	list   string           // path of the .lst file, "" without one
	crop   *recordio.Property

	opened, walked []string // notices
	passed         int64    // bytes, by the walk
}

var recordIOKind = kind{
	name:     "recordio",
	argument: "REC",
	about: `MXNet's train.rec, or the folder with one, beside it train.idx
and train.lst if there are any; identities are FOLDER/LABEL`,
	open:           openRecordIO,
	numberedKeys:   true,
	numberedPeople: true,
}

func openRecordIO(ctx context.Context, path string) (Source, error) {
	path, err := findRecords(path)
	if err != nil {
		return nil, err
	}
	s := &recordIO{path: path, namespace: Namespace(path)}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// findRecords returns the .rec file that path is, or that lies in it: train.rec, or
// the only one.
func findRecords(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", regular.Reason(err)
	}
	if !info.IsDir() {
		return path, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", fmt.Errorf("list directory: %w", regular.Reason(err))
	}
	var found []string
	for _, e := range entries {
		if name := e.Name(); filepath.Ext(name) == ".rec" && !strings.HasPrefix(name, ".") {
			found = append(found, name)
		}
	}
	switch {
	case slices.Contains(found, recordio.RecordName):
		return filepath.Join(path, recordio.RecordName), nil
	case len(found) == 1:
		return filepath.Join(path, found[0]), nil
	case len(found) == 0:
		return "", errors.New("no .rec file in it")
	}
	return "", fmt.Errorf("%d .rec files in it and no %s: name one", len(found), recordio.RecordName)
}

func (s *recordIO) open(ctx context.Context) error {
	var info fs.FileInfo
	var err error
	if s.file, info, err = regular.OpenInput(s.path); err != nil {
		return err
	}
	s.size = info.Size()
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := s.openIndex(); err != nil {
		return err
	}
	if err := s.readFirst(); err != nil {
		return err
	}
	s.openProperty()
	s.openList()
	return nil
}

// openList finds the .lst file, or says in a notice why what is in its place is not used.
func (s *recordIO) openList() {
	list := s.beside(".lst")
	if _, err := os.Lstat(list); errors.Is(err, os.ErrNotExist) {
		return
	}
	if _, err := regular.Stat(list); err != nil {
		s.opened = append(s.opened, fmt.Sprintf("%s is not used: %v", filepath.Base(list), err))
		return
	}
	s.list = list
}

// beside is the path of another file with the records' name.
func (s *recordIO) beside(ext string) string {
	return strings.TrimSuffix(s.path, filepath.Ext(s.path)) + ext
}

// look goes on to the first two images; at least one must exist and have labels that can name
// people. It finds out where the numbering would begin: at 1 if the images say so themselves.
func (s *recordIO) look(ctx context.Context) error {
	heads, shifts, err := s.firstImages(ctx, 2)
	if err != nil {
		return err
	}
	if len(heads) == 0 {
		return errors.New("no record with an image in it")
	}
	first, last := detectionFault(heads[0]), detectionFault(heads[len(heads)-1])
	if first != nil && last != nil {
		return first
	}
	if shifts[0] == 1 && shifts[len(shifts)-1] == 1 {
		s.first = 1
	}
	return nil
}

// firstImages are the headers of the first n images, and by how much their ids are above the
// numbers of their records.
func (s *recordIO) firstImages(ctx context.Context, n int) (heads []recordio.Header, shifts []uint64, err error) {
	scan := recordio.NewScanner(s.file, s.size, 0)
	for number := uint64(0); len(heads) < n; number++ {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		record, err := scan.Next()
		if errors.As(err, new(*recordio.DamageError)) {
			continue
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, regular.Reason(err)
		}
		h, err := recordio.ParseHeader(scan.Prefix(), record.Length)
		if err == nil && h.ImageSize > 0 {
			heads, shifts = append(heads, h), append(shifts, h.ID-number)
		}
	}
	return heads, shifts, nil
}

// detectionFault refuses the labels of object detection.
func detectionFault(h recordio.Header) error {
	head, object, ok := h.Detection()
	if !ok {
		return nil
	}
	return fmt.Errorf("its labels are those of im2rec for object detection (a head of %d numbers, objects of %d): they name no people; pack the images again with one label each, or list them in a manifest", head, object)
}

// openIndex reads the .idx file, or says in a notice why it is not used.
func (s *recordIO) openIndex() error {
	path := s.beside(".idx")
	name := filepath.Base(path)
	why := s.readIndex(path)
	if errors.Is(why, os.ErrNotExist) {
		s.opened = append(s.opened, fmt.Sprintf("there is no %s: records have the keys %d, %d and so on", name, s.first, s.first+1))
		return nil
	}
	if why == nil {
		var err error
		if why, err = s.judgeIndex(); err != nil {
			return err
		}
	}
	if why != nil {
		s.index = nil
		s.opened = append(s.opened, fmt.Sprintf("%s is not used: %v; records have the keys %d, %d and so on", name, why, s.first, s.first+1))
	}
	return nil
}

func (s *recordIO) readIndex(path string) error {
	file, info, err := regular.OpenInput(path)
	if err != nil {
		return err
	}
	s.index, err = recordio.ReadIndex(file, info.Size())
	if err == nil && len(s.index) == 0 {
		err = errors.New("is empty")
	}
	return errors.Join(err, file.Close())
}

// indexSamples is how many entries of an index are looked at before it is believed.
const indexSamples = 256

// judgeIndex says why the index is not that of this .rec: most of it leads to no records, or
// records follow behind the last one that it knows. The walk finds what is wrong with single
// entries.
func (s *recordIO) judgeIndex() (why, err error) {
	inside, _ := slices.BinarySearchFunc(s.index, s.size, func(e recordio.Entry, size int64) int {
		if e.Offset < size {
			return -1
		}
		return 1
	})
	samples := min(inside, indexSamples)
	found := 0
	for i := range samples {
		ok, err := recordio.BeginsAt(s.file, s.index[i*inside/samples].Offset)
		if err != nil {
			return nil, regular.Reason(err)
		}
		if ok {
			found++
		}
	}
	if 2*found < samples || samples == 0 {
		return fmt.Errorf("%d of %d entries looked at lead to no record", samples-found, samples), nil
	}
	if inside < len(s.index) {
		return nil, nil // the end of the .rec is missing
	}
	scan := recordio.NewScanner(s.file, s.size, s.index[inside-1].Offset)
	for range 2 {
		if _, err := scan.Next(); err != nil {
			return nil, passOver(err)
		}
	}
	return errors.New("ends before " + filepath.Base(s.path)), nil
}

// passOver returns err unless it is the end of the file or damage.
func passOver(err error) error {
	if err == io.EOF || errors.As(err, new(*recordio.DamageError)) {
		return nil
	}
	return regular.Reason(err)
}

// readFirst learns from insightface's record 0 where the keys of images end, if the record can be
// found without a scan.
func (s *recordIO) readFirst() error {
	var offset int64
	if s.index != nil {
		i := slices.IndexFunc(s.index, func(e recordio.Entry) bool { return e.Key == 0 })
		if i < 0 {
			return nil
		}
		offset = s.index[i].Offset
	}
	scan := recordio.NewScanner(s.file, s.size, offset)
	record, err := scan.Next()
	if err != nil {
		return passOver(err)
	}
	h, err := recordio.ParseHeader(scan.Prefix(), record.Length)
	if err != nil {
		return nil
	}
	// Above 2^24 the label may have been rounded, to either side.
	if from, _, ok := h.Range(); ok && from >= 1 && from < recordio.MaxExact {
		s.images = uint64(from)
	}
	return nil
}

// maxProperty bounds a property file, which has a line or two.
const maxProperty = 1 << 16

func (s *recordIO) openProperty() {
	path := filepath.Join(filepath.Dir(s.path), recordio.PropertyName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return
	}
	data, err := regular.Read(path, maxProperty)
	if err == nil {
		var p recordio.Property
		if p, err = recordio.ParseProperty(data); err == nil {
			s.crop = &p
			return
		}
	}
	s.opened = append(s.opened, fmt.Sprintf("%s is not used: %v", recordio.PropertyName, err))
}

// Digest is "": keys and paths come from other files than the images.
func (s *recordIO) Digest() string { return "" }

func (s *recordIO) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

func (s *recordIO) Notices() []string { return slices.Concat(s.opened, s.walked) }

func (s *recordIO) Walk(ctx context.Context, visit func(Item) error) error {
	w := &recordWalk{source: s, visit: visit}
	w.keys = newKeys(s)
	if s.list != "" {
		list, err := openList(s.list)
		if err != nil {
			return err
		}
		w.list = list
		defer list.close()
	}
	err := w.walk(ctx)
	s.walked = w.notices()
	return err
}

// recordWalk is one walk over the records.
type recordWalk struct {
	source *recordIO
	visit  func(Item) error
	keys   recordKeys
	list   *listCursor // nil without one
	ranges rangeCheck

	unsure  int // labels that float32 may have rounded
	guessed int // labels that are the first of more than insightface's two
	unnamed int // records that the index does not know
}

func (w *recordWalk) walk(ctx context.Context) error {
	scan := recordio.NewScanner(w.source.file, w.source.size, 0)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		record, err := scan.Next()
		var damage *recordio.DamageError
		switch {
		case err == nil:
			w.source.pass(record)
			err = w.record(record, scan.Prefix())
		case errors.As(err, &damage):
			err = w.damaged(damage)
		case err == io.EOF:
			return w.missing()
		default:
			return regular.Reason(err)
		}
		if err != nil {
			return err
		}
	}
}

// fault visits an item that cannot be read.
func (w *recordWalk) fault(key string, err error) error {
	return w.visit(Item{Key: key, Read: fails(err)})
}

func (w *recordWalk) damaged(damage *recordio.DamageError) error {
	// Numbers may be off from here on, and so are ranges of them.
	w.ranges.off = w.ranges.off || w.source.index == nil
	for _, key := range w.keys.damaged(damage.From, damage.To) {
		if err := w.fault(key, damage); err != nil {
			return err
		}
	}
	return nil
}

// missing visits the records that the index has behind the end of the file.
func (w *recordWalk) missing() error {
	for _, e := range w.keys.behind() {
		if err := w.fault(formatKey(e.Key), fmt.Errorf("begins at byte %d, but the file ends at byte %d", e.Offset, w.source.size)); err != nil {
			return err
		}
	}
	return nil
}

// record visits a record, unless it is one of insightface's without an image.
func (w *recordWalk) record(record recordio.Record, prefix []byte) error {
	h, headErr := recordio.ParseHeader(prefix, record.Length)
	from, to, isRange := h.Range()
	name := w.keys.record(record, h, isRange)
	for _, e := range name.inside {
		if err := w.fault(formatKey(e.Key), fmt.Errorf("no record begins at byte %d, where the index has one", e.Offset)); err != nil {
			return err
		}
	}
	if isRange && !w.isImage(name) {
		w.ranges.add(name, from, to)
		return nil
	}
	if !name.known {
		w.unnamed++
	}
	switch label := h.Label(); {
	case headErr != nil:
		return w.fault(name.text, headErr)
	case h.ImageSize == 0:
		return w.fault(name.text, errors.New("the record holds no image"))
	case math.IsNaN(float64(label)) || math.IsInf(float64(label), 0):
		return w.fault(name.text, fmt.Errorf("the label is %v", label))
	case detectionFault(h) != nil:
		return w.fault(name.text, detectionFault(h))
	}
	return w.visit(w.item(record, h, name))
}

// isImage tells whether a record without an image has the key of one.
func (w *recordWalk) isImage(name recordName) bool {
	return name.known && name.key >= 1 && name.key < w.source.images
}

func (w *recordWalk) item(record recordio.Record, h recordio.Header, name recordName) Item {
	label := h.Label()
	if label >= recordio.MaxExact {
		w.unsure++
	}
	if h.Flag > 2 {
		w.guessed++
	}
	if name.known {
		w.ranges.image(name.key, label)
	}
	item := Item{Key: name.text, Read: func(admit imgcodec.Admit) ([]byte, error) { return w.source.read(record, admit) }}
	if label >= 0 {
		item.Identity = w.source.namespace + "/" + formatLabel(label)
	}
	// Both packers write the key as the record's id, too. If it differs, the record was copied
	// from elsewhere, and the line of that key is another record's.
	if w.list != nil && name.known && h.ID == name.key {
		if e, ok := w.list.entry(name.key, label); ok {
			w.source.describe(&item, e)
		}
	}
	return item
}

// describe adds what the .lst says of a record.
func (s *recordIO) describe(item *Item, e recordio.ListEntry) {
	item.Attributes = []Attribute{{Name: "path", Value: escapeName(e.Path)}}
	if e.Aligned || e.Landmarks == nil {
		return
	}
	data, err := item.Read(admitDescribed)
	if err != nil {
		return
	}
	h, err := imgcodec.Inspect(data)
	if err != nil || !s.isPhotograph(h) || !inside(*e.Landmarks, h) {
		return
	}
	item.Landmarks = new(align.Landmarks)
	for i, p := range e.Landmarks {
		item.Landmarks[i] = align.Point{X: p[0], Y: p[1]}
	}
	if c := e.Corners; c != nil && c[2] > c[0] && c[3] > c[1] {
		item.Box = &Box{X: c[0], Y: c[1], W: c[2] - c[0], H: c[3] - c[1]}
	}
}

// admitDescribed leaves images undescribed that are too large to be read while the records are
// walked, beside all that is in work.
func admitDescribed(size int64, _ []byte) error {
	const most = 64 << 20
	if size > most {
		return fmt.Errorf("has %d bytes, more than the limit of %d", size, int64(most))
	}
	return nil
}

// isPhotograph tells whether an image is larger than an aligned crop.
func (s *recordIO) isPhotograph(h imgcodec.Header) bool {
	if s.crop != nil && h.W == s.crop.Width && h.H == s.crop.Height {
		return false
	}
	return h.Orientation == 1 && min(h.W, h.H) > align.CropSize
}

func inside(landmarks [5][2]float64, h imgcodec.Header) bool {
	for _, p := range landmarks {
		if p[0] < 0 || p[1] < 0 || p[0] > float64(h.W) || p[1] > float64(h.H) {
			return false
		}
	}
	return true
}

// read returns the image of a record.
func (s *recordIO) read(record recordio.Record, admit imgcodec.Admit) ([]byte, error) {
	head, err := recordio.ReadHead(s.file, record, imgcodec.HeadBytes)
	if err != nil {
		return nil, regular.Reason(err)
	}
	if h, err := recordio.ParseHeader(head, record.Length); err == nil {
		head = head[min(record.Length-h.ImageSize, int64(len(head))):]
	}
	if err := admit.Ask(record.End-record.Offset, head); err != nil {
		return nil, err
	}
	data, err := recordio.Read(s.file, record)
	if err != nil {
		return nil, regular.Reason(err)
	}
	h, err := recordio.ParseHeader(data, int64(len(data)))
	if err != nil {
		return nil, err
	}
	return data[int64(len(data))-h.ImageSize:], nil
}

// notices are what the walk found out.
func (w *recordWalk) notices() []string {
	var out []string
	if w.unsure > 0 {
		out = append(out, fmt.Sprintf("%d labels are %d or above, where float32 does not hold every number: people may have one label", w.unsure, recordio.MaxExact))
	}
	if w.guessed > 0 {
		out = append(out, fmt.Sprintf("%d images have more than two labels: the first is taken for the identity", w.guessed))
	}
	if w.unnamed > 0 {
		out = append(out, fmt.Sprintf("%d records are not in the index: they have the key @ and their offset", w.unnamed))
	}
	out = append(out, w.ranges.notices()...)
	if w.list != nil && w.list.fault != nil {
		out = append(out, fmt.Sprintf("%s is not used to its end: %v", filepath.Base(w.source.list), w.list.fault))
	}
	return out
}

func formatKey(key uint64) string { return strconv.FormatUint(key, 10) }

func formatLabel(label float32) string { return strconv.FormatFloat(float64(label), 'f', -1, 32) }
