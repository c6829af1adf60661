package student

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/student/checkpoint"
	"facepipe/student/export"
)

// origin is what a run notes of the file that it begins with.
func (f *weightsFile) origin() *checkpoint.Origin {
	o := &checkpoint.Origin{File: filepath.Base(f.path), Digest: f.digest}
	if at := f.at; at != nil {
		o.Training, _ = json.Marshal(export.NoteOf(*at, f.averaged))
		if at.Fingerprint != "" {
			o.Says = map[string]string{export.TeacherKey: at.Fingerprint}
		}
		return o
	}
	for _, p := range f.metadata {
		switch key := strings.ToLower(p.Key); {
		case p.Key == export.TrainingKey && json.Valid([]byte(p.Value)):
			o.Training = json.RawMessage(p.Value)
		case strings.Contains(key, "licen"), strings.Contains(key, "teacher"):
			if o.Says == nil {
				o.Says = map[string]string{}
			}
			o.Says[p.Key] = p.Value
		}
	}
	return o
}

// properties are the metadata of a safetensors file.
func properties(metadata map[string]string) []onnx.Property {
	var list []onnx.Property
	for key, value := range metadata {
		list = append(list, onnx.Property{Key: key, Value: value})
	}
	return list
}
