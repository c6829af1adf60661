package report

import (
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
)

// Kinds of what is compared that is no model that was run.
const (
	// KindTeacher is a teacher's cache of the dataset.
	KindTeacher = "teacher"
	// KindEmbeddings is a file of embeddings.
	KindEmbeddings = "embeddings"
)

// Test is one of several sets of comparisons.
type Test struct {
	// Name is that of its file without folder and ending: lfw, cfp_fp. No two are alike.
	Name     string                `json:"name"`
	Dataset  Dataset               `json:"dataset"`
	Pairs    protocol.Description  `json:"pairs"`
	FoldRule verification.FoldRule `json:"fold_rule,omitempty"`
	Folds    int                   `json:"folds,omitempty"`
}

// Worst are the errors that a model is most wrong about.
type Worst struct {
	// Threshold is the squared distance below which a pair is accepted, ThresholdCosine the same
	// as a cosine, and Chosen says why it was taken.
	Threshold       float64 `json:"threshold"`
	ThresholdCosine float64 `json:"threshold_cosine"`
	Chosen          string  `json:"chosen"`
	// FalseAccepts are different pairs that are accepted, the most alike first; FalseRejects
	// same pairs that are not, the least alike first. Both are empty if there is none.
	FalseAccepts []WorstPair `json:"false_accepts"`
	FalseRejects []WorstPair `json:"false_rejects"`
}

// WorstPair is a pair that a model is wrong about.
type WorstPair struct {
	First  string `json:"first"`
	Second string `json:"second"`
	// FirstFace and SecondFace are the crops, as files in the report's folder; "" if they were
	// not written.
	FirstFace  string `json:"first_face,omitempty"`
	SecondFace string `json:"second_face,omitempty"`
	// Cosines are what each model says, in the order of the report's models of the test.
	Cosines []float64 `json:"cosines"`
}
