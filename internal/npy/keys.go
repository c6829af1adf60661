package npy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"facepipe/internal/plain"
)

// AppendKey appends a key as a line of the text file that goes with an array, a line a row; one
// that would do more in a line than stand there, or looks like one that does, as a JSON string.
func AppendKey(dst []byte, key string) []byte {
	if plain.Harmless(key) && !strings.HasPrefix(key, `"`) {
		return append(append(dst, key...), '\n')
	}
	line, _ := json.Marshal(key) // a string always encodes
	return append(append(dst, plain.JSON(line)...), '\n')
}

// maxKeyLine bounds the line of a key.
const maxKeyLine = 1 << 20

// ReadKeys reads lines that [AppendKey] has written, or anybody's with a key each; empty lines at
// the end count for nothing.
func ReadKeys(r io.Reader) ([]string, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxKeyLine)
	var keys []string
	for lines.Scan() {
		key := strings.TrimSuffix(lines.Text(), "\r")
		if strings.HasPrefix(key, `"`) {
			var unquoted string
			if json.Unmarshal([]byte(key), &unquoted) == nil {
				key = unquoted
			}
		}
		if len(keys) == 0 {
			key = strings.TrimPrefix(key, "\ufeff")
		}
		keys = append(keys, key)
	}
	for len(keys) > 0 && keys[len(keys)-1] == "" {
		keys = keys[:len(keys)-1]
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("line %d: %w", len(keys)+1, err)
	}
	return keys, nil
}
