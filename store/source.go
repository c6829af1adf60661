package store

// SourceInfo says where crops came from. Two runs over one source must describe it
// by the same SourceInfo: that is how the second run knows what the first has done.
type SourceInfo struct {
	// Kind is folder, recordio, ...
	Kind string `json:"kind"`
	// Path as the user gave it.
	Path string `json:"path"`
	// Digest is the SHA-256 (hexadecimal) of the source where it is one file.
	Digest string `json:"digest,omitempty"`
	// Detector names the face detector and its parameters, "none" without one.
	Detector string `json:"detector"`
	// DetectorDigest is the SHA-256 (hexadecimal) of the detector's model file.
	DetectorDigest string `json:"detector_digest,omitempty"`
	// Landmarks is the SHA-256 (hexadecimal) of a file of given landmarks.
	Landmarks string `json:"landmarks,omitempty"`
	// Policy says which faces were taken, where that is not the default: a run under
	// another policy finds other faces in the same photographs.
	Policy string `json:"policy,omitempty"`
	// MergedFrom is the digest of the dataset by way of which a merge took the crops
	// over, "" for what was ingested directly. It keeps sources of two datasets apart
	// that are described in the same words.
	MergedFrom string `json:"merged_from,omitempty"`
	// KeyPrefix is what merges have put before the keys and identities of the source.
	KeyPrefix string `json:"key_prefix,omitempty"`
}

// Reject is an input that was refused.
type Reject struct {
	// Source is the number that [Writer.AddSource] gave.
	Source int `json:"source"`
	// Key names the input within the source.
	Key string `json:"key"`
	// Stage is the step that refused it: read, decode, detect, align, quality, store.
	Stage string `json:"stage"`
	// Reason is one sentence for a person.
	Reason string `json:"reason"`
	// Stamp is of the file that was refused.
	Stamp Stamp `json:"-"`
}
