package store

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"slices"
)

// superseded are the inputs that were refused and then looked at again, and the last shard that
// says what came of it. Rejects of earlier shards count no more.
type superseded map[inputRef]int

func (s *superseded) add(m *cropManifest) {
	if *s == nil && len(m.Superseded) > 0 {
		*s = superseded{}
	}
	for _, input := range m.Superseded {
		(*s)[input] = m.Shard
	}
}

// left are the rejects of a shard that count.
func (s superseded) left(m *cropManifest) []Reject {
	if len(s) == 0 {
		return m.Rejects
	}
	return slices.DeleteFunc(slices.Clone(m.Rejects), func(r Reject) bool {
		return s[inputRef{r.Source, r.Key}] > m.Shard
	})
}

// EachReject visits the rejects of all shards, in their order. The error of visit ends it.
func (d *Dataset) EachReject(visit func(Reject) error) error {
	for i := range d.shards {
		m, err := readCropManifest(filepath.Join(d.dir, cropsFolder), i)
		if err != nil {
			return err
		}
		for _, r := range d.superseded.left(m) {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// why stands for the stage and the reason.
func (r Reject) why() uint32 { return StampOfBytes([]byte(r.Stage + "\x00" + r.Reason)) }

// encodeReject is one line of rejects.jsonl.
func encodeReject(r Reject) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Two integers and strings always encode.
	_ = enc.Encode(r)
	return b.Bytes()
}
