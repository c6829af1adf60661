package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
)

// checkRejects compares rejects.jsonl with the manifests it is made from. An
// interrupted append may have left more at its end.
func (c *checker) checkRejects() error {
	if c.cropsBad {
		return nil
	}
	path := filepath.Join(c.dir, rejectsFile)
	f, err := os.Open(path)
	if err != nil {
		return c.file(missingIsDamage(path, err))
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for i := range c.dataset.shards {
		m, err := c.dataset.readManifest(i)
		if err != nil {
			return c.file(err)
		}
		for _, want := range m.Rejects {
			line, err := r.ReadBytes('\n')
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if enc := encodeReject(want); !bytes.Equal(line, enc) {
				return c.file(damaged(path, "has %q where the manifest of shard %d has %q", line, i, enc))
			}
		}
	}
	if _, err := r.ReadByte(); err == nil {
		c.note("%s has lines of an interrupted ingest", rejectsFile)
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
