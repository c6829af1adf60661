package recordio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Property is the content of insightface's file of that name.
type Property struct {
	Classes       int64 // number of identities
	Height, Width int   // of the images, in pixels
	Images        int64 // their number, from the file's second line; 0 if it has none
}

// maxPropertySize bounds what a property file can hold: four numbers.
const maxPropertySize = 4096

// ParseProperty reads "classes,height,width" and, on a second line that newer files
// have, the number of images.
func ParseProperty(data []byte) (Property, error) {
	if len(data) > maxPropertySize {
		return Property{}, fmt.Errorf("longer than %d bytes", maxPropertySize)
	}
	firstLine, secondLine, _ := strings.Cut(strings.TrimSpace(string(data)), "\n")
	fields := strings.Split(strings.TrimSpace(firstLine), ",")
	if len(fields) != 3 {
		return Property{}, errors.New("want classes,height,width")
	}
	var n [4]int64
	for i, f := range append(fields, secondLine) {
		f = strings.TrimSpace(f)
		if f == "" && i == 3 {
			break
		}
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil || v < 0 {
			return Property{}, fmt.Errorf("%q is not a number", f)
		}
		n[i] = v
	}
	if limit := int64(1 << 16); n[1] == 0 || n[2] == 0 || n[1] > limit || n[2] > limit {
		return Property{}, fmt.Errorf("images of %dx%d pixels", n[2], n[1])
	}
	return Property{Classes: n[0], Height: int(n[1]), Width: int(n[2]), Images: n[3]}, nil
}

// String is the content of a property file. It has no second line, as most of insightface's
// programs refuse one.
func (p Property) String() string {
	return fmt.Sprintf("%d,%d,%d\n", p.Classes, p.Height, p.Width)
}
