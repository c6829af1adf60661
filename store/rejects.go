package store

import (
	"bytes"
	"encoding/json"
	"path/filepath"
)

// EachReject visits the rejects of all shards, in their order. The error of visit ends it.
func (d *Dataset) EachReject(visit func(Reject) error) error {
	for i := range d.shards {
		m, err := readCropManifest(filepath.Join(d.dir, cropsFolder), i)
		if err != nil {
			return err
		}
		for _, r := range m.Rejects {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeReject is one line of rejects.jsonl.
func encodeReject(r Reject) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Two integers and strings always encode.
	_ = enc.Encode(r)
	return b.Bytes()
}
