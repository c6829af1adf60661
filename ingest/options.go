package ingest

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/internal/progress"
)

// How crops are stored, the values of [Options.Store].
const (
	// StoreEncoded keeps the original bytes of crops that pass through, and encodes the
	// others as PNG.
	StoreEncoded = "encoded"
	// StoreRaw keeps RGB pixels: about twice the space, nothing to decode.
	StoreRaw = "raw"
)

// How crops that were cut out of photographs are encoded, the values of
// [Options.CropFormat].
const (
	CropPNG  = "png"
	CropJPEG = "jpeg"
)

// MinJPEGQuality is the least quality at which crops are encoded. Below it the loss shows in
// the embeddings of models.
const MinJPEGQuality = 95

// The side of crops in pixels: the usual one, the least and the greatest.
const (
	DefaultCropSize = align.CropSize
	MinCropSize     = 32
	MaxCropSize     = 1024
)

// DefaultMaxRejectRate is the fraction of refused inputs that is taken as normal.
const DefaultMaxRejectRate = 0.05

// Options are the settings of [Run]. Plans keep as JSON what the crops depend on. The other
// fields are left out of JSON: each machine has its own.
type Options struct {
	// Sources are written KIND=PATH, see [source.ParseSpec]; at least one.
	Sources []string
	// Out is the folder of the dataset, made or appended to.
	Out string `json:"-"`
	// Detector is none (""), scrfd=FILE or yunet=FILE.
	Detector string
	// DetSize is the longest side of what the detector looks at, 0 for its default.
	DetSize int
	// MinScore is the confidence, 0 to 1, from which a face counts, 0 for the
	// detector's own.
	MinScore float64
	// Landmarks is a file of landmarks, see [source.Landmarks], whose keys are those of the
	// dataset. They are used instead of detection. Items that the file does not name go to
	// the detector, or are rejected if there is none.
	Landmarks string
	// Faces is [FacesLargest] (""), [FacesOne] or [FacesAll].
	Faces string
	// Gate says which faces are good enough.
	Gate Gate
	// MinImages leaves out identities with fewer photographs in this run's sources; 0 leaves
	// none out.
	MinImages int
	// Split is NAME=SHARE,NAME=SHARE..., whose shares add up to 1. A hash of the name and
	// SplitSeed puts every identity, and every photograph without one, into one of the
	// splits. A split that the source tells counts instead. "" splits nothing.
	Split     string
	SplitSeed uint64
	// CropSize is the side of crops in pixels, [MinCropSize] to [MaxCropSize]; 0 is
	// [DefaultCropSize]. The template that faces are aligned to grows with it.
	CropSize int `json:",omitempty"`
	// Store is [StoreEncoded] ("") or [StoreRaw].
	Store string
	// CropFormat is how crops that were cut out of photographs are encoded: [CropPNG] ("") or
	// [CropJPEG]. JPEGQuality is [MinJPEGQuality] (0) to 100.
	CropFormat  string
	JPEGQuality int
	// PairsOut is a file for the verification pairs that sources hold, "" for none.
	PairsOut string `json:",omitempty"`
	// Workers is the number of photographs processed at once, 0 for one a core.
	Workers int `json:"-"`
	// Memory is how many bytes photographs and crops in work may take at once, at least
	// [MinMemory]; 0 is [DefaultMemory]. What takes more by itself is refused.
	Memory int64 `json:"-"`
	// ShardRows is the number of crops in a shard, 0 for the store's default.
	ShardRows int
	// MaxRejectRate is the fraction of refused inputs, 0 to 1, above which [Run] returns a
	// [*RejectRateError].
	MaxRejectRate float64 `json:"-"`
	// KeyPrefixes stand before every key and identity, so that those of two sources cannot
	// collide: none, one for all sources, or one for each in their order.
	KeyPrefixes []string
	// SamePeople says that a number which is an identity means the same person in all sources and
	// in the dataset. Without it two that have the same numbers are refused.
	SamePeople bool `json:",omitempty"`
	// RetryRejects looks at everything again that an earlier run refused. Without it only what has
	// another file now is looked at again.
	RetryRejects bool `json:",omitempty"`
	// Decoder is the JPEG decoder: auto (""), std or turbo.
	Decoder string
	// ONNXRuntime is the path of the ONNX Runtime library, "" to look it up.
	ONNXRuntime string `json:"-"`
	// Progress gets a progress bar, or lines; nil for none.
	Progress io.Writer `json:"-"`
	// Logger gets notices; nil for [slog.Default].
	Logger *slog.Logger `json:"-"`

	from, items int           // the stretch of items that is ingested; all if items is 0
	made        *planCrops    // crops that workers have made; nil to make them here
	bar         *progress.Bar // of a plan's worker, over all its tasks
}

// known is the number of items that a plan says there are, -1 without one.
func (o Options) known() int {
	switch {
	case o.made != nil:
		return itemsOf(o.made.tasks)
	case o.items > 0:
		return o.items
	}
	return -1
}

// parsed are the options in the form the run needs.
type parsed struct {
	sources  []source.Spec
	detector detect.Spec
	faces    string
	split    *splitter // nil without
	raw      bool
	quality  int // of JPEG crops, 0 for PNG
	workers  int
	memory   int64
	side     int // of crops
}

// Validate says what is wrong with the options, without opening a file.
func (o Options) Validate() error {
	_, err := o.parse()
	return err
}

func (o Options) parse() (p parsed, err error) {
	switch {
	case len(o.Sources) == 0:
		return p, errors.New("no source given")
	case o.Out == "":
		return p, errors.New("no dataset given to write to")
	case !(o.MaxRejectRate >= 0 && o.MaxRejectRate <= 1):
		return p, fmt.Errorf("a reject rate of %v is not in 0..1", o.MaxRejectRate)
	case !(o.MinScore >= 0 && o.MinScore <= 1):
		return p, fmt.Errorf("a score of %v is not in 0..1", o.MinScore)
	case o.CropSize != 0 && (o.CropSize < MinCropSize || o.CropSize > MaxCropSize):
		return p, fmt.Errorf("a crop size of %d is not in %d..%d", o.CropSize, MinCropSize, MaxCropSize)
	case o.Memory != 0 && o.Memory < MinMemory:
		return p, fmt.Errorf("a memory of %d bytes is less than %d", o.Memory, int64(MinMemory))
	case o.DetSize < 0 || o.Workers < 0 || o.ShardRows < 0 || o.MinImages < 0:
		return p, errors.New("sizes and numbers must not be negative")
	}
	if p.sources, err = o.parseSources(); err != nil {
		return p, err
	}
	if p.faces, err = oneOf("faces", o.Faces, FacesLargest, FacesOne, FacesAll); err != nil {
		return p, err
	}
	if err := o.Gate.validate(); err != nil {
		return p, err
	}
	if p.split, err = parseSplit(o.Split, o.SplitSeed); err != nil {
		return p, err
	}
	if p.detector, err = detect.ParseSpec(o.Detector); err != nil {
		return p, err
	}
	if err := o.parseFormat(&p); err != nil {
		return p, err
	}
	p.side = cmp.Or(o.CropSize, DefaultCropSize)
	if p.memory = o.Memory; p.memory == 0 {
		p.memory = DefaultMemory()
	}
	p.workers = o.Workers
	if p.workers == 0 {
		p.workers = runtime.GOMAXPROCS(0)
	}
	return p, nil
}

// oneOf is value, which must be known, or the first known one if it is empty.
func oneOf(what, value string, known ...string) (string, error) {
	if value == "" {
		return known[0], nil
	}
	if !slices.Contains(known, value) {
		return "", fmt.Errorf("%s %q: want %s", what, value, strings.Join(known, " or "))
	}
	return value, nil
}

// parseSources parses the sources and refuses two whose names would collide.
func (o Options) parseSources() ([]source.Spec, error) {
	if n := len(o.KeyPrefixes); n > 1 && n != len(o.Sources) {
		return nil, fmt.Errorf("%d key prefixes for %d sources: give one for all, or one for each", n, len(o.Sources))
	}
	for _, p := range o.KeyPrefixes {
		if !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
			return nil, fmt.Errorf("key prefix %q is not valid UTF-8 text", p)
		}
	}
	var specs []source.Spec
	for i, s := range o.Sources {
		spec, err := source.ParseSpec(s)
		if err != nil {
			return nil, err
		}
		for k, other := range specs {
			if why := o.collision(other, spec); why != "" && o.prefix(i) == o.prefix(k) {
				return nil, fmt.Errorf("sources %s and %s: %s give each a key prefix of its own, in the order of the sources", other, spec, why)
			}
		}
		specs = append(specs, spec)
	}
	return specs, nil
}

// collision says how the names of two sources would meet, as far as their descriptions tell.
func (o Options) collision(a, b source.Spec) string {
	why := source.KeyCollision(a, b)
	if why != "" {
		return why + ":"
	}
	if !o.SamePeople {
		if why = source.PeopleCollision(a, b); why != "" {
			why += ": say that a number means the same person in both (--same-people), or"
		}
	}
	return why
}

// prefix stands before the keys and identities of source i.
func (o Options) prefix(i int) string {
	switch len(o.KeyPrefixes) {
	case 0:
		return ""
	case 1:
		return o.KeyPrefixes[0]
	}
	return o.KeyPrefixes[i]
}

// parseFormat parses how crops are kept.
func (o Options) parseFormat(p *parsed) error {
	kept, err := oneOf("store", o.Store, StoreEncoded, StoreRaw)
	if err != nil {
		return err
	}
	format, err := oneOf("crop format", o.CropFormat, CropPNG, CropJPEG)
	if err != nil {
		return err
	}
	p.raw = kept == StoreRaw
	switch {
	case format == CropPNG && o.JPEGQuality != 0:
		return fmt.Errorf("a JPEG quality of %d needs the crop format jpeg", o.JPEGQuality)
	case format == CropPNG:
		return nil
	case p.raw:
		return errors.New("raw pixels have no crop format")
	case o.JPEGQuality != 0 && (o.JPEGQuality < MinJPEGQuality || o.JPEGQuality > 100):
		return fmt.Errorf("a JPEG quality of %d is not in %d..100", o.JPEGQuality, MinJPEGQuality)
	}
	p.quality = max(o.JPEGQuality, MinJPEGQuality)
	return nil
}

// policy describes which faces are taken, "" for the default. It is part of a source's
// description: a run under another policy looks at the same photographs again.
func (o Options) policy(faces string) string {
	var parts []string
	if faces != FacesLargest {
		parts = append(parts, "faces "+faces)
	}
	if gate := o.Gate.describe(); gate != "" {
		parts = append(parts, gate)
	}
	return strings.Join(parts, ", ")
}
