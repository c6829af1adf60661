package eval

import (
	"cmp"
	"slices"

	"facepipe/eval/pairlist"
	"facepipe/eval/verification"
	"facepipe/internal/embed"
	"facepipe/internal/ort"
	"facepipe/store"
)

// Report is what a run found, with every switch that moves a figure.
type Report struct {
	// Flip says whether the embedding of the mirrored crop was added.
	Flip bool `json:"flip"`
	// Norm is unit: embeddings are scaled to length one before they are compared.
	Norm string `json:"norm"`
	// Distance is squared-euclidean: of the unit embeddings, 2 - 2·cosine.
	Distance string `json:"distance"`
	// FoldRule deals pairs out to the folds that accuracy is cross-validated on.
	FoldRule verification.FoldRule `json:"fold_rule"`
	Folds    int                   `json:"folds"`
	// FARPick is le: TAR@FAR is read at the largest threshold whose FAR, over all
	// pairs, is at most the target.
	FARPick string `json:"far_pick"`
	// Detector lists the detectors that found the faces of the dataset.
	Detector []string `json:"detector"`
	// Decoder is the JPEG decoder that read the crops; Dataset.Contract names the one
	// that read the photographs.
	Decoder string `json:"decoder"`
	// Runtime is the version of ONNX Runtime, Provider what it ran on.
	Runtime  string `json:"onnxruntime"`
	Provider string `json:"provider"`

	Dataset DatasetReport `json:"dataset"`
	Pairs   PairsReport   `json:"pairs"`
	// Models are in the order of the options.
	Models []ModelReport `json:"models"`
	// Failed are models without figures.
	Failed []FailedModel `json:"failed,omitempty"`
}

// DatasetReport says where the crops came from.
type DatasetReport struct {
	Path     string             `json:"path"`
	Digest   string             `json:"digest"`
	Rows     int                `json:"rows"`
	Contract store.Contract     `json:"contract"`
	Sources  []store.SourceInfo `json:"sources"`
}

// PairsReport says which pairs were compared.
type PairsReport struct {
	Path   string          `json:"path"`
	Digest string          `json:"digest"`
	Format pairlist.Format `json:"format"`
	// Listed pairs are those of the list; MissingPairs of them were left out for one
	// of the images in Missing, Used remain and need Crops crops.
	Listed       int      `json:"listed"`
	Used         int      `json:"used"`
	Crops        int      `json:"crops"`
	MissingPairs int      `json:"missing_pairs"`
	Missing      []string `json:"missing"`
	// IdenticalPairs compare a crop with itself.
	IdenticalPairs int `json:"identical_pairs"`
}

// ModelReport is one model's part.
type ModelReport struct {
	// Model is the path as given, Digest the SHA-256 of the model ([embed.Model.Digest]).
	Model  string `json:"model"`
	Digest string `json:"digest"`
	Dim    int    `json:"dim"`
	// Preprocess is how pixels became the model's input, and PreprocessReason why.
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	verification.Result
	// Seconds is the time that embedding all crops took, reading them included, and
	// ImagesPerSecond the number of crops over it, a crop and its mirror image
	// counted once.
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
}

// FailedModel is a model that gave no figures.
type FailedModel struct {
	Model string `json:"model"`
	Error string `json:"error"`
	// UnusablePairs could not be compared, because of embeddings that are zero or not
	// finite; UnusableCrops are all crops that have one.
	UnusablePairs int      `json:"unusable_pairs,omitempty"`
	UnusableCrops []string `json:"unusable_crops,omitempty"`
}

// newReport is the report of a run without its models.
func newReport(o Options, ds *store.Dataset) Report {
	r := Report{
		Flip: o.Flip, Norm: "unit", Distance: "squared-euclidean", FARPick: "le",
		Provider: cmp.Or(o.Runtime.Provider, ort.CPU), Detector: []string{}, Models: []ModelReport{},
		Dataset: DatasetReport{Path: o.Dataset, Digest: ds.Digest(), Rows: ds.Rows(), Contract: ds.Contract(), Sources: ds.Sources()},
	}
	for _, s := range r.Dataset.Sources {
		if !slices.Contains(r.Detector, s.Detector) {
			r.Detector = append(r.Detector, s.Detector)
		}
	}
	return r
}

// addPairs tells about the pairs.
func (r *Report) addPairs(s *PairSet) {
	r.FoldRule, r.Folds = s.folds.Rule, s.folds.Count
	r.Pairs = PairsReport{
		Path: s.path, Digest: s.list.Digest, Format: s.list.Format,
		Listed: len(s.list.Pairs), Used: s.Pairs(), Crops: len(s.locations),
		MissingPairs: s.MissingPairs(), Missing: s.missing, IdenticalPairs: s.identicalPairs(),
	}
	if r.Pairs.Missing == nil {
		r.Pairs.Missing = []string{}
	}
}

// addMissing tells about pairs that could not be used at all.
func (r *Report) addMissing(e *MissingError) {
	r.Pairs = PairsReport{Path: e.List, Listed: e.Listed, MissingPairs: e.Pairs, Missing: e.Images}
}
