package ingest

import (
	"bytes"
	"encoding/json"
	"strings"

	"facepipe/ingest/source"
)

// attributesJSON writes attributes as a JSON object of strings in their order; "" for
// none.
func attributesJSON(list []source.Attribute) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	for i, a := range list {
		b.WriteByte("{,"[min(i, 1)])
		b.Write(jsonString(a.Name))
		b.WriteByte(':')
		b.Write(jsonString(a.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// jsonString is a JSON string in which < > & stay readable.
func jsonString(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// A buffer takes every byte, and every string can be written.
	_ = e.Encode(s)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
