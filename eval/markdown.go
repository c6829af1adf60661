package eval

import (
	"bytes"
	"fmt"
	"strings"

	"facepipe/eval/verification"
)

// markdown is the report for people.
func (r Report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Face verification\n\n")
	r.writeTable(&b)
	fmt.Fprintf(&b, "\n![ROC](%s)\n", rocFile)
	r.writeProtocol(&b)
	r.writeModels(&b)
	return b.Bytes()
}

func (r Report) writeTable(b *bytes.Buffer) {
	header := []string{"model", "accuracy %"}
	if len(r.Models) > 0 { // all have the same points, as they see the same pairs
		for _, p := range r.Models[0].OperatingPoints {
			header = append(header, "TAR@FAR "+p.Name())
		}
	}
	header = append(header, "AUC", "EER %", "threshold (cosine)", "images/s")
	writeRow(b, header...)
	fmt.Fprintf(b, "| --- |%s\n", strings.Repeat(" ---: |", len(header)-1))
	names := r.labels()
	for i, m := range r.Models {
		cells := []string{code(names[i]), fmt.Sprintf("%.2f ± %.2f", 100*m.Accuracy, 100*m.AccuracyStd)}
		for _, p := range m.OperatingPoints {
			cells = append(cells, fmt.Sprintf("%.4f", p.TAR))
		}
		writeRow(b, append(cells, fmt.Sprintf("%.5f", m.AUC), fmt.Sprintf("%.2f", 100*m.EER),
			fmt.Sprintf("%.3f", m.ThresholdCosine), fmt.Sprintf("%.0f", m.ImagesPerSecond))...)
	}
}

// writeRow writes a line of a table.
func writeRow(b *bytes.Buffer, cells ...string) {
	for _, c := range cells {
		fmt.Fprintf(b, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	b.WriteString("|\n")
}

func (r Report) writeProtocol(b *bytes.Buffer) {
	c := r.Dataset.Contract
	fmt.Fprintf(b, "\n## Protocol\n\n")
	for _, item := range []struct{ what, is string }{
		{"Pairs", fmt.Sprintf("%s (format %s), %d of %d used; %d images are missing; %d pairs compare a crop with itself",
			code(r.Pairs.Path), r.Pairs.Format, r.Pairs.Used, r.Pairs.Listed, len(r.Pairs.Missing), r.Pairs.IdenticalPairs)},
		{"Embeddings", r.embedding() + "; scaled to length one; compared by d = |e1 - e2|² = 2 - 2·cosine"},
		{"Accuracy", fmt.Sprintf("mean ± population standard deviation over %d folds, %s; the threshold of a fold is the first of d = 0, 0.01 ... 3.99 that is best on the others",
			r.Folds, foldRuleText(r.FoldRule))},
		{"TAR@FAR", "over all pairs, at the largest threshold whose FAR is at most the target"},
		{"Crops", fmt.Sprintf("%d pixels, template %s, warp %s, decoder %s, detector %s",
			c.CropSize, c.Template, c.Warp, c.Decoder, strings.Join(r.Detector, " and "))},
		{"Run", fmt.Sprintf("ONNX Runtime %s on %s, crops decoded by %s", r.Runtime, r.Provider, r.Decoder)},
		{"Dataset", fmt.Sprintf("%s, digest %s", code(r.Dataset.Path), code(r.Dataset.Digest))},
		{"Pair list", "SHA-256 " + code(r.Pairs.Digest)},
	} {
		fmt.Fprintf(b, "* %s: %s\n", item.what, item.is)
	}
}

func foldRuleText(rule verification.FoldRule) string {
	switch rule {
	case verification.Declared:
		return "the list's own"
	case verification.Interleaved:
		return "contiguous after merging same and different pairs evenly (in the list's own order some folds would be of one kind)"
	}
	return "contiguous in the list's order"
}

func (r Report) writeModels(b *bytes.Buffer) {
	fmt.Fprintf(b, "\n## Models\n\n")
	for _, m := range r.Models {
		fmt.Fprintf(b, "* %s: %d-d; %s (%s); SHA-256 %s\n", code(m.Model), m.Dim, m.Preprocess, m.PreprocessReason, code(m.Digest))
	}
	for _, f := range r.Failed {
		fmt.Fprintf(b, "* %s **failed**: %s\n", code(f.Model), code(f.Error))
	}
}

// code is a code span, which shows any text as it is.
func code(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if !strings.Contains(text, "`") {
		return "`" + text + "`"
	}
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + " " + text + " " + fence
}
