package report

import (
	"bytes"
	"fmt"
	"strings"

	"facepipe/internal/plain"
)

// markdown is the report for people who read files: the answer, tables, warnings, pictures, and
// then how it was found.
func markdown(r Report) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Face verification\n\n")
	if answer := r.Answer(); answer != nil {
		fmt.Fprintf(&b, "%s.\n\n", marked(answer))
	}
	writeTable(&b, r.Table())
	if t := r.ThresholdTable(); len(t.Rows) > 0 {
		fmt.Fprintf(&b, "\n## Thresholds\n\n%s\n\n", thresholdsAre)
		writeTable(&b, t)
	}
	writeWarnings(&b, r.AllWarnings())
	fmt.Fprintf(&b, "\n## Curves\n\n![ROC](%s)\n\n![DET](%s)\n\n![Scores](%s)\n", rocFile, detFile, scoresFile)
	for _, s := range r.Sections() {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		writeFacts(&b, s.Facts, "")
	}
	return b.Bytes(), nil
}

// thresholdsAre says what the table of thresholds is for.
const thresholdsAre = "What to set for the false match rate (FMR) you want: two faces match if their cosine is above the threshold, " +
	"or the squared distance of their embeddings of length one below it. FMR and FNMR are those of these pairs at that threshold. " +
	"A range in brackets is the 95 % interval: as far as other people would move the figure."

func writeWarnings(b *bytes.Buffer, warnings []Text) {
	if len(warnings) == 0 {
		return
	}
	b.WriteString("\n> **Warnings**\n>\n")
	for _, w := range warnings {
		fmt.Fprintf(b, "> * %s\n", marked(w))
	}
}

func writeFacts(b *bytes.Buffer, facts []Fact, indent string) {
	for _, f := range facts {
		fmt.Fprintf(b, "%s* %s: %s\n", indent, marked(f.About), marked(f.Is))
		writeFacts(b, f.More, indent+"  ")
	}
}

func writeTable(b *bytes.Buffer, t Table) {
	header := []string{"model"}
	for _, c := range t.Columns {
		header = append(header, c.heading())
	}
	writeRow(b, header)
	fmt.Fprintf(b, "| --- |%s\n", strings.Repeat(" ---: |", len(t.Columns)))
	for _, row := range t.shown() {
		writeRow(b, append([]string{plain.Code(row.Label)}, row.Cells...))
	}
}

// writeRow writes a line of a table.
func writeRow(b *bytes.Buffer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(b, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	b.WriteString("|\n")
}

// heading is a title with what else the figure is called.
func (c Column) heading() string {
	if c.Alias == "" {
		return c.Title
	}
	return c.Title + " (= " + c.Alias + ")"
}

// marked is text in Markdown.
func marked(t Text) string {
	var b strings.Builder
	for _, span := range t {
		switch {
		case span.Literal:
			b.WriteString(plain.Code(span.Text))
		case span.Strong:
			b.WriteString("**" + plain.Markdown(span.Text) + "**")
		default:
			b.WriteString(plain.Markdown(span.Text))
		}
	}
	return b.String()
}
