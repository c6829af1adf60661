package teacher

import (
	"io"
	"path/filepath"
	"strings"
	"time"

	"facepipe/internal/embed"
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
	// Batch, Threads, Provider and Library are those of embed.Options.
	Batch    int
	Threads  int
	Provider string
	Library  string
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
	// CopiedFrom are the caches that were asked; Notes say why others were not.
	CopiedFrom []store.Donor `json:"copied_from,omitempty"`
	Notes      []string      `json:"notes,omitempty"`
	// Invalid is the number of embeddings of the cache that have no use, as they are
	// not finite or zero; those of mirror images count by themselves.
	Invalid int `json:"invalid"`
	Dim     int `json:"dim"`
	// Seconds of the run, and crops (not embeddings) computed in one of them.
	Seconds         float64 `json:"seconds"`
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
}

// Stages is where the seconds of a run went. The stages overlap.
type Stages struct {
	// Load is decoding and normalising, summed over the workers.
	Load float64 `json:"load_seconds"`
	// Infer is the model's time, Wait the time it waited for crops.
	Infer float64 `json:"infer_seconds"`
	Wait  float64 `json:"wait_seconds"`
	// Write is the time it took to collect embeddings, without the commits of shards.
	Write float64 `json:"write_seconds"`
}

func stagesOf(t embed.Times) Stages {
	return Stages{Load: t.Load.Seconds(), Infer: t.Infer.Seconds(), Wait: t.Wait.Seconds(), Write: t.Emit.Seconds()}
}

// close fills in what is known when a run ends.
func (s *Summary) close(begun time.Time, t embed.Times) {
	s.Seconds = time.Since(begun).Seconds()
	s.ImagesPerSecond = float64(s.Computed) / s.Seconds
	s.Stages = stagesOf(t)
}
