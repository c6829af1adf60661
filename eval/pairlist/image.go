package pairlist

import "fmt"

// extensions are tried in this order for an image that is named without one.
var extensions = []string{".jpg", ".jpeg", ".png", ".webp", ".bmp"}

// Image is an image as a list names it.
type Image struct {
	name string
	stem bool // name lacks the extension
}

// Named is the image of a key.
func Named(key string) Image { return Image{name: key} }

// Keys are the dataset keys that the image may have, the likeliest first. LFW names
// a person and a number and leaves the file's format open.
func (i Image) Keys() []string {
	if !i.stem {
		return []string{i.name}
	}
	keys := make([]string, len(extensions))
	for k, ext := range extensions {
		keys[k] = i.name + ext
	}
	return keys
}

// String is the image's key, or the part of it that the list gives.
func (i Image) String() string { return i.name }

// Stem says that the list leaves the file's extension open.
func (i Image) Stem() bool { return i.stem }

// lfwImage is the image that LFW calls number n of a person.
func lfwImage(person string, n int) Image {
	return Image{name: fmt.Sprintf("%s/%s_%04d", person, person, n), stem: true}
}
