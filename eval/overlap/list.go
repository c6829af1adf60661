package overlap

import (
	"bytes"
	"encoding/csv"
	"strconv"

	"facepipe/internal/durable"
)

// header names the columns of the list of hits.
var header = []string{"by", "test_key", "test_identity", "train_key", "train_identity", "cosine", "pairs"}

// WriteList writes the hits to a CSV file, the most alike first, with a header. What trains on
// the training set takes it as a list of what to leave out: an identity where there is one, else
// the photograph.
func (r *Result) WriteList(path string) error {
	var text bytes.Buffer
	w := csv.NewWriter(&text)
	if err := w.Write(header); err != nil {
		return err
	}
	for _, h := range r.Hits {
		err := w.Write([]string{h.By, h.TestKey, h.TestIdentity, h.TrainKey, h.TrainIdentity, strconv.FormatFloat(h.Cosine, 'f', 4, 64), strconv.FormatInt(h.Pairs, 10)})
		if err != nil {
			return err
		}
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return err
	}
	return durable.Replace(path, text.Bytes(), 0o644)
}
