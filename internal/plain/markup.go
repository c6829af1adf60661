package plain

import (
	"strings"
)

// markdown is what would make words of Markdown more than words: emphasis, code, HTML, entities,
// links. A bracket alone is none.
var markdown = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "<", `\<`, "&", `\&`,
	"](", `]\(`, "://", `\://`, "www.", `www\.`)

// Markdown is text that shows as it is within a line of Markdown.
func Markdown(text string) string { return markdown.Replace(Text(text)) }

// Cell is [Markdown] within a cell of a table.
func Cell(text string) string { return strings.ReplaceAll(Markdown(text), "|", `\|`) }

// Code is a code span of Markdown, which shows any text as it is; spaces beside each other become
// one. In a cell of a table its "|" must be quoted, too.
func Code(text string) string {
	text = Text(strings.Join(strings.Fields(text), " "))
	if !strings.Contains(text, "`") {
		return "`" + text + "`"
	}
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + " " + text + " " + fence
}

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&#39;")

// XML is text as XML and HTML hold it, in attributes as well.
func XML(text string) string { return entities.Replace(Text(text)) }
