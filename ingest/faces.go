package ingest

import (
	"fmt"
	"slices"
	"strings"

	"facepipe/ingest/detect"
	"facepipe/ingest/source"
	"facepipe/store"
)

// Which faces of a photograph are taken, the values of [Options.Faces]. Landmarks or a box
// that are given with a photograph choose one face in any case.
const (
	// FacesLargest takes the main face: see [detect.Main].
	FacesLargest = "largest"
	// FacesOne takes the face of photographs that have exactly one, and refuses others.
	FacesOne = "one"
	// FacesAll takes every face. The main one has the photograph's key and identity.
	// The others have the key and #1, #2 ..., in the order of the detector's
	// confidence, and no identity: a source tells of one person a photograph.
	FacesAll = "all"
)

// choose picks the faces to take of a photograph of w by h pixels, the main one last. None, or
// another number than is wanted, is a [refusal].
func choose(policy string, faces []detect.Face, box *source.Box, w, h int) ([]detect.Face, error) {
	main, err := wanted(faces, box, w, h)
	if err != nil {
		return nil, err
	}
	switch {
	case box != nil:
		return []detect.Face{main}, nil
	case policy == FacesOne && len(faces) != 1:
		return nil, refuse(stageDetect, fmt.Errorf("%w: %d found", errFaceCount, len(faces)))
	case policy == FacesAll:
		at := slices.Index(faces, main)
		return append(slices.Delete(slices.Clone(faces), at, at+1), main), nil
	}
	return []detect.Face{main}, nil
}

// furtherKey names face n = 1, 2 ... of the photograph that has the given key.
func furtherKey(key string, n int) string {
	key = fmt.Sprintf("%s#%d", key, n)
	if store.ValidKey(key) != nil {
		return substitute(key)
	}
	return key
}

// photoKey is the key of a photograph where further faces have keys too. It doubles the marks
// # at the end, or before the digits at the end. So a file x.jpg#1 is not taken for a further
// face of x.jpg, which has an odd number of marks there.
func photoKey(key string) string {
	name := strings.TrimRight(key, "0123456789")
	marks := len(name) - len(strings.TrimRight(name, "#"))
	return name + strings.Repeat("#", marks) + key[len(name):]
}
