package study

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"facepipe/student"
)

// identify is what a row's digest is of, and the digest: all that its run depends on and, where
// the validation chooses among its checkpoints, by which figure of which validation.
func (r *runner) identify(a student.Outlook) (digest string, inputs map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(a.Manifest))
	d.UseNumber() // a float64 does not tell all seeds apart
	if err := d.Decode(&inputs); err != nil {
		return "", nil, err
	}
	if r.Select != "" {
		inputs["select"], inputs["validation"] = r.Select, r.tests[0].digest
	}
	data, err := json.Marshal(inputs)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), inputs, err
}

// differing are the keys whose values differ, in their order.
func differing(a, b map[string]any) (keys []string) {
	x, y := map[string]string{}, map[string]string{}
	flat(x, "", a)
	flat(y, "", b)
	all := maps.Clone(x)
	maps.Copy(all, y)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		v, there := x[key]
		w, also := y[key]
		if there != also || v != w {
			keys = append(keys, key)
		}
	}
	return keys
}

// flat notes the values of JSON by their paths.
func flat(to map[string]string, path string, v any) {
	m, ok := v.(map[string]any)
	if !ok {
		to[path] = fmt.Sprint(v)
		return
	}
	for key, value := range m {
		below := key
		if path != "" {
			below = path + "." + key
		}
		flat(to, below, value)
	}
}
