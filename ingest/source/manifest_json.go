package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// objectCells reads a JSON object as a row: its names in their order, and for each value the
// text that a cell of a CSV file would hold. Strings lose their quotation marks, null is empty,
// and other values keep their JSON form. An object that is a box gives a column for each of its
// own names, as in box.x.
func objectCells(text []byte) (names, cells []string, err error) {
	if !utf8.Valid(text) {
		return nil, nil, errors.New("is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	err = readObject(d, func(name string, value json.RawMessage) error {
		if value[0] != '{' || !isBox(name) {
			names, cells = append(names, name), append(cells, cellText(value))
			return nil
		}
		return readObject(json.NewDecoder(bytes.NewReader(value)), func(inner string, value json.RawMessage) error {
			names, cells = append(names, name+"."+inner), append(cells, cellText(value))
			return nil
		})
	})
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, errors.New("text behind the JSON object")
	}
	return names, cells, nil
}

// readObject calls visit for every member of a JSON object.
func readObject(d *json.Decoder, visit func(name string, value json.RawMessage) error) error {
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return brokenJSON(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return brokenJSON(err)
		}
		if err := visit(name.(string), bytes.TrimSpace(value)); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return brokenJSON(err)
	}
	return nil
}

func brokenJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the JSON object does not end on its line")
	}
	return err
}

// isBox says whether an object of this name holds a box's numbers.
func isBox(name string) bool {
	for _, prefix := range boxPrefixes {
		if prefix != "" && spelling(name) == prefix {
			return true
		}
	}
	return false
}

// cellText is what a JSON value looks like in a cell.
func cellText(value json.RawMessage) string {
	switch value[0] {
	case '"':
		var s string
		if json.Unmarshal(value, &s) == nil {
			return s
		}
	case 'n':
		return ""
	}
	return string(value)
}
