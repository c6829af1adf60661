package plain_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"html"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"facepipe/internal/plain"
)

// evil is text that does something somewhere, and what a line shows of it.
var evil = map[string]string{
	"a b.jpg":                  "a b.jpg",
	"Müller/愛/😀.jpg":           "Müller/愛/😀.jpg",
	"a\x1b[2Jb":                `a\x1b[2Jb`,
	"a\x00b\x7f":               `a\x00b\x7f`,
	"a\u009b31mb":              `a\u009b31mb`,
	"a\npipe: done\r\n\tb":     `a\npipe: done\r\n\tb`,
	"gpj\u202egnp.exe\u2066":   `gpj\u202egnp.exe\u2066`,
	`"q" \ 'x'`:                `"q" \ 'x'`,
	"\u200b\u00a0":             `\u200b\u00a0`,
	"":                         "",
	"a\xffb\xc3":               `a\xffb\xc3`,
	"a\u2028b\u2029c\ufeff":    `a\u2028b\u2029c\ufeff`,
	"a\U000e0001b\ufffd\uffff": `a\U000e0001b` + "\ufffd" + `\uffff`,
	"\x1b]8;;http://x\x07y":    `\x1b]8;;http://x\ay`,
}

func TestText(t *testing.T) {
	for text, want := range evil {
		if got := plain.Text(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// No text of whatever form does anything, and all are still there.
func TestEveryForm(t *testing.T) {
	for text := range evil {
		for name, form := range map[string]func(string) string{"Text": plain.Text, "Markdown": plain.Markdown, "Code": plain.Code, "XML": plain.XML} {
			if got := form(text); !plain.Harmless(got) || strings.ContainsAny(got, "\n\t") {
				t.Errorf("%s of %q: %q", name, text, got)
			}
		}
		if got := html.UnescapeString(plain.XML(text)); got != plain.Text(text) {
			t.Errorf("XML of %q: %q", text, got)
		}
	}
}

func TestMarkdown(t *testing.T) {
	for text, want := range map[string]string{
		"iresnet50 x 0.5":           "iresnet50 x 0.5",
		"a|b":                       `a|b`,
		"<img src=x onerror=a()>":   `\<img src=x onerror=a()>`,
		"[x](javascript:a)":         `[x]\(javascript:a)`,
		"*a* _b_ ~c~ `d` &lt; \\":   "\\*a\\* \\_b\\_ \\~c\\~ \\`d\\` \\&lt; \\\\",
		"see http://x or www.x.com": `see http\://x or www\.x.com`,
		"a\n# b":                    `a\\n# b`,
		"(x - [127.5]) / [1 2]":     "(x - [127.5]) / [1 2]",
		`C:\x`:                      `C:\\x`,
	} {
		if got := plain.Markdown(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCell(t *testing.T) {
	if got := plain.Cell("a|<b"); got != `a\|\<b` {
		t.Error(got)
	}
}

func TestCode(t *testing.T) {
	for text, want := range map[string]string{
		"a.onnx": "`a.onnx`", "a\n b": "`a b`", "a`b": "`` a`b ``", "``": "``` `` ```", "\x1b": "`\\x1b`",
	} {
		if got := plain.Code(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestXML(t *testing.T) {
	if got := plain.XML(`<b a="1" c='2'>&` + "\x00"); got != `&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\x00` {
		t.Error(got)
	}
}

// The value is the same, and no character of it commands.
func TestJSON(t *testing.T) {
	for text := range evil {
		if !utf8.ValidString(text) {
			continue
		}
		data, err := json.MarshalIndent(map[string]string{text: text}, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		quoted := plain.JSON(data)
		var got map[string]string
		if err := json.Unmarshal(quoted, &got); err != nil || len(got) != 1 || got[text] != text {
			t.Errorf("%q: %s, %v", text, quoted, err)
		}
		if !plain.Harmless(strings.NewReplacer("\n", "", "\t", "").Replace(string(quoted))) {
			t.Errorf("%q: %q", text, quoted)
		}
	}
}

// However text is cut into pieces, the same comes out.
func TestWriter(t *testing.T) {
	for text := range evil {
		var whole, cut bytes.Buffer
		w := plain.NewWriter(&whole)
		if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
		pieces := plain.NewWriter(&cut)
		for i := range len(text) {
			if n, err := pieces.Write([]byte{text[i]}); n != 1 || err != nil {
				t.Errorf("%q: %d, %v", text, n, err)
			}
		}
		if err := errors.Join(w.Flush(), pieces.Flush()); err != nil {
			t.Error(err)
		}
		if cut.String() != whole.String() {
			t.Errorf("%q: %q in pieces, %q at once", text, &cut, &whole)
		}
		if lines := strings.NewReplacer("\n", "", "\t", "").Replace(whole.String()); !plain.Harmless(lines) {
			t.Errorf("%q: %q", text, &whole)
		}
	}
}

func TestWriterKeepsLines(t *testing.T) {
	var b bytes.Buffer
	const text = "a\tb\n  é\u00a0\u3000\u200cک 100%\n"
	if _, err := plain.NewWriter(&b).Write([]byte(text)); err != nil || b.String() != text {
		t.Errorf("%q, %v", &b, err)
	}
}

func TestWriterTellsOfFailure(t *testing.T) {
	failing := struct{ *brokenPipe }{}
	w := plain.NewWriter(failing)
	if n, err := w.Write([]byte("a")); n != 0 || !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("%d, %v", n, err)
	}
}

type brokenPipe struct{}

func (*brokenPipe) Write([]byte) (int, error) { return 0, iotest.ErrTimeout }

func TestFprintf(t *testing.T) {
	var b bytes.Buffer
	_, err := plain.Fprintf(&b, "%s: %d %q %v\n", "a\nb", 3, "c\nd", []string{"e\nf"})
	if want := `a\nb: 3 "c\\nd" [e\nf]` + "\n"; err != nil || b.String() != want {
		t.Errorf("%q, want %q, %v", &b, want, err)
	}
}
