// Package faces is where the faces of an evaluation come from.
//
// A [Set] has aligned crops, or only what is known of them; its faces are numbered by their
// places 0 .. Len()-1. [Open] takes a dataset's folder.
package faces

import (
	"context"
	"math"

	"facepipe/store"
)

// Set is a number of faces. It is safe for concurrent use, except of Close.
type Set interface {
	// Len is the number of faces.
	Len() int
	// Find is the place of the face of a key; false if there is none.
	Find(key string) (place int, ok bool, err error)
	// EachKey visits all keys, several of one face if it has them. A key is good until visit
	// returns: to keep it, clone it.
	EachKey(ctx context.Context, visit func(key string) error) error
	// Head is what is known of a face but for its image: key, identity, label, detector's score,
	// landmarks, measures, attributes. Where little is known most of it is empty.
	Head(place int) (store.Crop, error)
	// Labels are the labels of all faces, [store.NoLabel] without an identity.
	Labels(ctx context.Context) ([]int32, error)
	// Identities is the number of labels, which are 0 .. Identities()-1; 0 where no identity is
	// known.
	Identities() int
	// CropSize is the side of the crops in pixels; 0 in a set without images.
	CropSize() int
	// Decode decodes the crop at a place into rgb, CropSize()²·3 bytes of interleaved RGB.
	Decode(place int, rgb []byte) error
	// Describe says what the set is.
	Describe() Description
	// Close lets go of the files.
	Close() error
}

// Description says what a set is.
type Description struct {
	// Path is a dataset's folder, or a file; Digest is the dataset's, or the file's SHA-256.
	Path   string `json:"path"`
	Digest string `json:"digest"`
	// Kind says what the set is, "" for a dataset.
	Kind string `json:"kind,omitempty"`
	// Rows is the number of faces.
	Rows int `json:"rows"`
	// Contract is how the crops were made, Sources where they came from; both are empty where
	// nobody knows.
	Contract store.Contract     `json:"contract"`
	Sources  []store.SourceInfo `json:"sources"`
}

// Numbers number the persons at some places: by their labels, and with a number of its own, from
// Identities() on, for each face without an identity.
func Numbers(s Set, places []int) ([]int32, error) {
	numbers := make([]int32, len(places))
	unknown := int64(s.Identities())
	for i, place := range places {
		head, err := s.Head(place)
		if err != nil {
			return nil, err
		}
		if head.Label == store.NoLabel {
			head.Label = int32(min(unknown, math.MaxInt32))
			unknown++
		}
		numbers[i] = head.Label
	}
	return numbers, nil
}
