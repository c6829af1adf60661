package teacher

import (
	"cmp"
	"io"
	"path/filepath"
	"strings"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/internal/selfcheck"
	"facepipe/store/cache"
)

// DefaultMaxRejectRate is the fraction of embeddings without use that is taken as normal.
const DefaultMaxRejectRate = 0.05

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset.
	Dataset string
	// Model is the teacher's ONNX file, Name its name in the dataset; "" takes the
	// file's name without its ending, with dashes for what cannot stand in a name.
	Model string
	Name  string
	// Preprocess is auto (also ""), arcface, raw or a JSON file; see
	// embed.ResolvePreprocess.
	Preprocess string
	// Output is the name of the model's output to take; "" takes the only one with an
	// embedding's shape.
	Output string
	// Flip embeds the mirror image of every crop, too.
	Flip bool
	// DType is store.FP16 or store.FP32; "" is fp16.
	DType string
	// Batch is that of embed.Options.
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options
	// Devices are the numbers of the provider's devices that do the work together; none takes
	// device 0.
	Devices []int
	// NoSelfTest leaves out the comparison with other preprocessings that a new cache
	// begins with; see [selfcheck.Run]. AllowWeakTeacher takes a model that does not tell people
	// apart there.
	NoSelfTest       bool
	AllowWeakTeacher bool
	// Reuse are folders of other datasets. Embeddings are copied from their caches of the same
	// fingerprint and not computed.
	Reuse []string
	// Workers decode crops; 0 takes one a core.
	Workers int
	// MaxRejectRate is the fraction of embeddings without use, 0 to 1, above which
	// [Precompute] returns a [*RejectRateError].
	MaxRejectRate float64
	// Version is the program's, for the record of the run.
	Version string
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer

	contract *embed.Preprocess // instead of Preprocess, if a plan has it
	norm     string            // the output of the norm, where contract is set
	plan     string            // the id of the plan that the run works on, or makes
	worker   string            // which of its workers this is
	decoder  string            // of JPEG crops, as the plan has it
	begin    func(shard int)   // for tests: called before a shard is begun
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.DType == "" {
		o.DType = cache.FP16
	}
	if o.Name == "" {
		o.Name = cmp.Or(cache.SafeName(stem(o.Model)), "teacher")
	}
	return o
}

// stem is a file's name without its ending.
func stem(path string) string {
	base := filepath.Base(path)
	return strings.TrimSuffix(base, filepath.Ext(base))
}

func (o Options) devices() []int {
	if len(o.Devices) == 0 {
		return []int{0}
	}
	return o.Devices
}

// runtimes say what runs the model on each device.
func (o Options) runtimes() []ort.Options {
	var list []ort.Options
	for _, device := range o.devices() {
		runtime := o.Runtime
		runtime.Device = device
		list = append(list, runtime)
	}
	return list
}

// ValidateRuntime refuses what no machine could run: see ort.Options.Validate.
func (o Options) ValidateRuntime() error {
	for _, runtime := range o.runtimes() {
		if err := runtime.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// flips are the mirrorings to embed.
func flips(mirror bool) []bool {
	if mirror {
		return []bool{false, true}
	}
	return []bool{false}
}

// Summary is a run in numbers.
type Summary struct {
	Teacher string `json:"teacher"`
	// Rows of the dataset, of which some were Computed in this run, Reused from the cache, or
	// Copied from other datasets' caches.
	Rows     int `json:"rows"`
	Computed int `json:"computed"`
	Reused   int `json:"reused"`
	Copied   int `json:"copied"`
	// Appended crops came to the dataset during the run and have no embedding yet. The same
	// run again embeds them.
	Appended int `json:"appended"`
	// CopiedFrom are the caches that could be copied from.
	CopiedFrom []cache.Donor `json:"copied_from,omitempty"`
	// Notes say why a cache could not be copied from, what was measured to choose the batch
	// or why it is 1, what of the model's inputs and outputs is cast or left out, what the
	// provider leaves to others, and where it keeps its engines.
	Notes []string `json:"notes,omitempty"`
	// Warnings say what was measured and may be wrong with the preprocessing or the teacher.
	Warnings []string `json:"warnings,omitempty"`
	// Invalid is the number of embeddings of the cache that have no use, as they are not
	// finite or zero. A mirror image's counts by itself.
	Invalid int `json:"invalid"`
	Dim     int `json:"dim"`
	// Seconds is how long the run took. CPUSeconds are those of all processors. DeviceSeconds
	// is how long the devices ran the model, with the self-test and the measuring of batches.
	Seconds       float64 `json:"seconds"`
	CPUSeconds    float64 `json:"cpu_seconds"`
	DeviceSeconds float64 `json:"device_seconds"`
	// ImagesPerSecond is the number of crops (not embeddings) a second from the first to
	// the last commit, without opening and testing the model.
	ImagesPerSecond float64 `json:"images_per_second"`
	DType           string  `json:"dtype"`
	Flip            bool    `json:"flip"`
	// Preprocess and why it was chosen.
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	// Fingerprint identifies the model and the contract, ModelDigest is the SHA-256 of the
	// model's file, Digest identifies the cached embeddings.
	Fingerprint string `json:"fingerprint"`
	ModelDigest string `json:"model_digest"`
	Digest      string `json:"digest"`
	// Batch is the number of crops of one run of the model, Runtime the version of
	// ONNX Runtime, Decoder that of JPEG crops.
	Batch   int    `json:"batch"`
	Runtime string `json:"runtime"`
	Decoder string `json:"decoder"`
	// Stages says where the seconds went. Open and SelfTest come first. The others are of what
	// was computed, and overlap.
	Stages cache.Stages `json:"stages"`
	// SelfTest is nil unless the cache is new and the dataset has faces to compare.
	SelfTest *selfcheck.Result `json:"self_test,omitempty"`
	// Drift is what half precision costs, over some embeddings of this run; nil for fp32.
	Drift *cache.Drift `json:"fp16_drift,omitempty"`
}
