package teacher

import (
	"io"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/store"
)

// DefaultMaxRejectRate is the share of embeddings without use that is taken as normal.
const DefaultMaxRejectRate = 0.05

// Options are the settings of a run.
type Options struct {
	// Dataset is the folder of the dataset.
	Dataset string
	// Model is the teacher's ONNX file, Name its name in the dataset; "" takes the
	// file's name without its ending.
	Model string
	Name  string
	// Preprocess is auto (also ""), arcface, raw or a JSON file; see
	// embed.ResolvePreprocess.
	Preprocess string
	// Flip embeds the mirror image of every crop, too.
	Flip bool
	// DType is store.FP16 or store.FP32; "" is fp16.
	DType string
	// Batch is that of embed.Options.
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options
	// Devices are the numbers of the provider's devices that share the work; none takes
	// device 0.
	Devices []int
	// NoSelfTest leaves out the comparison with other preprocessings that a new cache
	// begins with; see [SelfTest].
	NoSelfTest bool
	// Reuse are folders of other datasets. Embeddings that their caches of the same
	// fingerprint hold are copied and not computed.
	Reuse []string
	// Workers decode crops; 0 takes one a core.
	Workers int
	// MaxRejectRate is the share of embeddings without use, 0 to 1, above which
	// [Precompute] returns a [*RejectRateError].
	MaxRejectRate float64
	// Progress receives the bar and notices; nil is silent.
	Progress io.Writer

	contract *embed.Preprocess // instead of Preprocess, where a plan says it
	begin    func(shard int)   // of tests: called before a shard is begun
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.DType == "" {
		o.DType = store.FP16
	}
	if o.Name == "" {
		base := filepath.Base(o.Model)
		o.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	return o
}

func (o Options) devices() []int {
	if len(o.Devices) == 0 {
		return []int{0}
	}
	return o.Devices
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
	// Rows of the dataset; Computed in this run, Reused from the cache, Copied from
	// other datasets' caches.
	Rows     int `json:"rows"`
	Computed int `json:"computed"`
	Reused   int `json:"reused"`
	Copied   int `json:"copied"`
	// CopiedFrom are the caches that were asked.
	CopiedFrom []store.Donor `json:"copied_from,omitempty"`
	// Notes are worth knowing: why a cache was not asked, what was measured to choose the
	// batch, what the provider leaves to others, where it keeps what it builds.
	Notes []string `json:"notes,omitempty"`
	// Invalid is the number of embeddings of the cache that have no use, as they are
	// not finite or zero; those of mirror images count by themselves.
	Invalid int `json:"invalid"`
	Dim     int `json:"dim"`
	// Seconds of the run; those of all processors, and those that the devices computed.
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
	// Fingerprint says under what the embeddings were made, ModelDigest is the SHA-256
	// of the model's file, Digest identifies the cached embeddings.
	Fingerprint string `json:"fingerprint"`
	ModelDigest string `json:"model_digest"`
	Digest      string `json:"digest"`
	// Batch is the number of crops of one run of the model, Runtime the version of
	// ONNX Runtime, Decoder that of JPEG crops.
	Batch   int    `json:"batch"`
	Runtime string `json:"runtime"`
	Decoder string `json:"decoder"`
	Stages  Stages `json:"stages"`
	// SelfTest is there if the cache is new and the dataset has faces to compare.
	SelfTest *SelfTest `json:"self_test,omitempty"`
	// Drift is what half precision costs, over some embeddings of this run; nil for fp32.
	Drift *Drift `json:"fp16_drift,omitempty"`
}

// Stages is where the seconds of a run went. The stages overlap, and each but Commit is
// summed over those who do it: the largest in proportion to their number is what a faster
// machine would need more of.
type Stages struct {
	// Read is the time to reach crops and verify their checksums, Decode that to make
	// pixels of them, Normalise that to make the model's input: of the workers.
	Read      float64 `json:"read_seconds"`
	Decode    float64 `json:"decode_seconds"`
	Normalise float64 `json:"normalise_seconds"`
	// Infer is the model's time, Wait the time it waited for crops: of the devices.
	Infer float64 `json:"infer_seconds"`
	Wait  float64 `json:"wait_seconds"`
	// Write is the time to collect embeddings, Commit that to make shards durable.
	Write  float64 `json:"write_seconds"`
	Commit float64 `json:"commit_seconds"`
}

// stagesOf splits up the times of a stream, of which loading took read for reading.
func stagesOf(t embed.Times, read, commit time.Duration) Stages {
	return Stages{
		Read: read.Seconds(), Decode: (t.Load - read).Seconds(), Normalise: t.Normalise.Seconds(),
		Infer: t.Infer.Seconds(), Wait: t.Wait.Seconds(), Write: t.Emit.Seconds(), Commit: commit.Seconds(),
	}
}

// processorSeconds is the time that all processors have spent on this process; 0 where the
// system does not tell.
func processorSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

// close fills in what is known when a run ends.
func (s *Summary) close(begun time.Time, stages Stages) {
	s.Seconds = time.Since(begun).Seconds()
	s.CPUSeconds, s.DeviceSeconds = processorSeconds(), stages.Infer
	s.Stages = stages
}
