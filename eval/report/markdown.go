package report

import (
	"bytes"
	"fmt"
	"strings"
)

// markdown is the report for people who read files.
func markdown(r Report) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Face verification\n\n")
	writeTable(&b, r.Table())
	fmt.Fprintf(&b, "\n![ROC](%s)\n", rocFile)
	for _, s := range r.Sections() {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		writeFacts(&b, s.Facts, "")
	}
	return b.Bytes(), nil
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
		header = append(header, c.Title)
	}
	writeRow(b, header)
	fmt.Fprintf(b, "| --- |%s\n", strings.Repeat(" ---: |", len(t.Columns)))
	for _, row := range t.Rows {
		writeRow(b, append([]string{code(row.Label)}, row.Cells...))
	}
}

// writeRow writes a line of a table.
func writeRow(b *bytes.Buffer, cells []string) {
	for _, c := range cells {
		fmt.Fprintf(b, "| %s ", strings.ReplaceAll(c, "|", `\|`))
	}
	b.WriteString("|\n")
}

// marked is text in Markdown.
func marked(t Text) string {
	var b strings.Builder
	for _, span := range t {
		switch {
		case span.Literal:
			b.WriteString(code(span.Text))
		case span.Strong:
			b.WriteString("**" + span.Text + "**")
		default:
			b.WriteString(span.Text)
		}
	}
	return b.String()
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
