package ingest

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"unicode/utf8"

	"facepipe/ingest/detect"
	"facepipe/ingest/source"
)

// How crops are stored, the values of [Options.Store].
const (
	// StoreEncoded keeps the original bytes of crops that pass through and encodes
	// the others as PNG.
	StoreEncoded = "encoded"
	// StoreRaw keeps RGB pixels: about twice the space, nothing to decode.
	StoreRaw = "raw"
)

// DefaultMaxRejectRate is the share of refused inputs that is taken as normal.
const DefaultMaxRejectRate = 0.05

// Options are the settings of [Run].
type Options struct {
	// Sources are written KIND=PATH, see [source.ParseSpec]; at least one.
	Sources []string
	// Out is the folder of the dataset, made or appended to.
	Out string
	// Detector is none (""), scrfd=FILE or yunet=FILE.
	Detector string
	// DetSize is the longest side of what the detector looks at, 0 for its default.
	DetSize int
	// MinScore is the confidence, 0 to 1, from which a face counts, 0 for the
	// detector's own.
	MinScore float64
	// Landmarks is a file of landmarks, see [source.Landmarks], whose keys are those
	// of the dataset. They are used instead of detection; items that the file does
	// not name go to the detector, or are rejected if there is none.
	Landmarks string
	// Store is [StoreEncoded] ("") or [StoreRaw].
	Store string
	// Workers is the number of photographs processed at once, 0 for one a core.
	Workers int
	// ShardRows is the number of crops in a shard, 0 for the store's default.
	ShardRows int
	// MaxRejectRate is the share of inputs, 0 to 1, above which [Run] returns a
	// [RejectRateError].
	MaxRejectRate float64
	// KeyPrefix is put before every key and identity, so that those of two sources
	// cannot collide.
	KeyPrefix string
	// Decoder is the JPEG decoder: auto (""), std or turbo.
	Decoder string
	// ONNXRuntime is the path of the ONNX Runtime library, "" to look it up.
	ONNXRuntime string
	// Progress gets a progress bar, or lines; nil for none.
	Progress io.Writer
	// Logger gets notices; nil for [slog.Default].
	Logger *slog.Logger
}

// parsed are the options in the form the run needs.
type parsed struct {
	sources  []source.Spec
	detector detect.Spec
	raw      bool
	workers  int
}

// Validate says what is wrong with the options, as far as that can be told without
// opening a file.
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
	case o.DetSize < 0 || o.Workers < 0 || o.ShardRows < 0:
		return p, errors.New("sizes and numbers must not be negative")
	case !utf8.ValidString(o.KeyPrefix) || strings.ContainsRune(o.KeyPrefix, 0):
		return p, fmt.Errorf("key prefix %q is not valid UTF-8 text", o.KeyPrefix)
	}
	for _, s := range o.Sources {
		spec, err := source.ParseSpec(s)
		if err != nil {
			return p, err
		}
		p.sources = append(p.sources, spec)
	}
	if p.detector, err = detect.ParseSpec(o.Detector); err != nil {
		return p, err
	}
	switch o.Store {
	case StoreEncoded, "":
	case StoreRaw:
		p.raw = true
	default:
		return p, fmt.Errorf("store %q: want %s or %s", o.Store, StoreEncoded, StoreRaw)
	}
	p.workers = o.Workers
	if p.workers == 0 {
		p.workers = runtime.GOMAXPROCS(0)
	}
	return p, nil
}
