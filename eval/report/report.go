// Package report says what was found about models, in files for people and programs.
//
// A [Report] holds all that a form needs: figures, every switch that moves one, and
// digests. Its answer, its tables, warnings and sections are the same for all readers; a
// form only renders them. To add one, write a file with a [Form] and give it a line in [Forms].
package report

import (
	"facepipe/eval/agreement"
	"facepipe/eval/cohort"
	"facepipe/eval/cost"
	"facepipe/eval/faces"
	"facepipe/eval/identification"
	"facepipe/eval/overlap"
	"facepipe/eval/protocol"
	"facepipe/eval/uncertainty"
	"facepipe/eval/verification"
	"facepipe/internal/embed"
	"facepipe/internal/selfcheck"
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
	// FARPick says where TAR@FAR is read, over all pairs: see [verification.Pick].
	FARPick string `json:"far_pick"`
	// Detector lists the detectors that found the faces of the dataset.
	Detector []string `json:"detector"`
	// Decoder is the JPEG decoder that read the crops; Dataset.Contract names the one
	// that read the photographs.
	Decoder string `json:"decoder"`
	// Runtime is the version of ONNX Runtime, Provider what it ran on.
	Runtime  string `json:"onnxruntime"`
	Provider string `json:"provider"`

	Dataset Dataset              `json:"dataset"`
	Pairs   protocol.Description `json:"pairs"`
	// Tests are all sets of comparisons, where there are several; Dataset, Pairs and the folds
	// are then those of the first.
	Tests []Test `json:"tests,omitempty"`
	// Models are in the order of the options, each on all tests before the next.
	Models []Model `json:"models"`
	// Failed are models without figures.
	Failed []Failed `json:"failed,omitempty"`
	// Command made the report; nil if nobody says.
	Command []string `json:"command,omitempty"`
	// Comparisons are of each model with the first on the same test.
	Comparisons []Comparison `json:"comparisons,omitempty"`
	// Overlap is what a training set holds of the dataset's tests; Models' Clean are without it.
	Overlap *overlap.Result `json:"overlap,omitempty"`
	// OverlapFaces are the faces of the first of its hits, in their order.
	OverlapFaces []HitFaces `json:"overlap_faces,omitempty"`
	// Cohorts are rates of groups of faces, for each model and column.
	Cohorts []Cohort `json:"cohorts,omitempty"`
	// Agreement is of each model with the first on the same test.
	Agreement []Agreement `json:"agreement,omitempty"`
	// Variants are models that are one in several precisions.
	Variants []cost.Variants `json:"variants,omitempty"`
	// Warnings are what else a reader of figures must not overlook: see [Report.AllWarnings].
	Warnings []string `json:"warnings,omitempty"`
}

// Dataset says where the crops came from.
type Dataset = faces.Description

// Model is one model's part, on one test.
type Model struct {
	// Model is the path as given, or the name of a teacher's cache; Digest the SHA-256 of the
	// model ([embed.Model.Digest]), or of the file of embeddings.
	Model  string `json:"model"`
	Digest string `json:"digest"`
	// Kind is "" for a model that was run, [KindTeacher] or [KindEmbeddings].
	Kind string `json:"kind,omitempty"`
	// Test is the name of one of the report's Tests, if there are several.
	Test string `json:"test,omitempty"`
	Dim  int    `json:"dim"`
	// Preprocess is how pixels became the model's input, and PreprocessReason why.
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	// Output is the name of the output that was chosen among several embeddings.
	Output string `json:"output,omitempty"`
	// NormOutput is the name of the output that embeddings of unit length were multiplied by.
	NormOutput string `json:"norm_output,omitempty"`
	// SelfTest compares preprocessings on some of the crops; nil if it was left out, or if
	// there are not two to compare.
	SelfTest *selfcheck.Result `json:"self_test,omitempty"`
	// Notes say what a user should know about how the model was opened, and what is in doubt.
	Notes []string `json:"notes,omitempty"`
	verification.Result
	// Identification are the figures of protocols with many comparisons; nil of others.
	Identification *identification.Result `json:"identification,omitempty"`
	// Seconds is the time that embedding all crops took, reading them included, and
	// ImagesPerSecond the number of crops over it, a crop and its mirror image
	// counted once.
	Seconds         float64 `json:"seconds"`
	ImagesPerSecond float64 `json:"images_per_second"`
	// Uncertainty has the intervals of the figures; nil where they were not computed.
	Uncertainty *uncertainty.Summary `json:"uncertainty,omitempty"`
	// Clean are the figures without what the training set of [Report].Overlap holds.
	Clean *Clean `json:"clean,omitempty"`
	// Cost is what the model costs, on its first test; nil of what is no model.
	Cost *cost.Cost `json:"cost,omitempty"`
	// Worst are the errors that are worst; nil where nothing is compared in pairs.
	Worst *Worst `json:"worst,omitempty"`
}

// Comparison is of two models on a test, the name of which is "" where there is one alone.
type Comparison struct {
	Test string `json:"test,omitempty"`
	uncertainty.Comparison
}

// Cohort are a model's rates of groups of a test's faces.
type Cohort struct {
	Test string `json:"test,omitempty"`
	cohort.Table
}

// Agreement is that of two models on a test.
type Agreement struct {
	Test string `json:"test,omitempty"`
	agreement.Result
}

// HitFaces are the crops of a hit, as files in the report's folder.
type HitFaces struct {
	Test  string `json:"test"`
	Train string `json:"train"`
}

// Clean are figures without some comparisons.
type Clean struct {
	verification.Result
	Uncertainty *uncertainty.Summary `json:"uncertainty,omitempty"`
}

// Failed is a model that gave no figures.
type Failed struct {
	// Model is as in [Model]; for a test that could not be read, its file.
	Model string `json:"model"`
	Test  string `json:"test,omitempty"`
	Error string `json:"error"`
	// UnusablePairs could not be compared, because of embeddings that are zero or not
	// finite; UnusableCrops are all crops that have one.
	UnusablePairs int      `json:"unusable_pairs,omitempty"`
	UnusableCrops []string `json:"unusable_crops,omitempty"`
}
