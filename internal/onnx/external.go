package onnx

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/protobuf"
	"facepipe/internal/regular"
)

// part is one of the messages in a model file.
type part int

const (
	modelMessage part = iota
	trainingMessage
	functionMessage
	graphMessage
	nodeMessage
	attributeMessage
	sparseMessage
	tensorMessage
	entryMessage
)

// within says in which fields of a message others lie that lead to tensors: weights are not
// only a graph's, and a runtime opens the files of all of them.
var within = map[part]map[protowire.Number]part{
	modelMessage:     {7: graphMessage, 20: trainingMessage, 25: functionMessage},
	trainingMessage:  {1: graphMessage, 2: graphMessage},
	functionMessage:  {7: nodeMessage, 11: attributeMessage},
	graphMessage:     {1: nodeMessage, 5: tensorMessage, 15: sparseMessage},
	nodeMessage:      {5: attributeMessage},
	attributeMessage: {5: tensorMessage, 6: graphMessage, 10: tensorMessage, 11: graphMessage, 22: sparseMessage, 23: sparseMessage},
	sparseMessage:    {1: tensorMessage, 2: tensorMessage},
	tensorMessage:    {13: entryMessage},
}

// maxDepth is how deep messages may lie in each other; protobuf's readers take no more.
const maxDepth = 100

// locations adds the files that the tensors in a message name to a list.
func locations(list []string, data []byte, of part, depth int) ([]string, error) {
	if depth > maxDepth {
		return list, fmt.Errorf("its messages lie more than %d deep in each other", maxDepth)
	}
	if of == entryMessage {
		p, err := readProperty(data)
		if p.Key == "location" {
			list = append(list, p.Value)
		}
		return list, err
	}
	err := protobuf.Fields(data, func(f protobuf.Field) (err error) {
		if inner, ok := within[of][f.Number]; ok {
			list, err = locations(list, f.Bytes, inner, depth+1)
		}
		return err
	})
	return list, err
}

// ExternalFiles are the files beside the model that a model file's tensors name, wherever they
// are in it, relative to the model's folder, sorted. Models of more than 2 GB have them, and some
// exporters make them for every model. A model that was not read from a file has none.
func (m *Model) ExternalFiles() []string { return slices.Clone(m.external) }

// MaxExternalBytes is the longest file of weights beside a model.
const MaxExternalBytes = 256 << 30

// Beside is the path of a file of weights of the model at a path, and makes sure of it before a
// runtime opens it: a regular file in the model's folder or below it. Links may lead to it if
// they stay in there, or in the folder that the link leads to that the model itself is, as in
// stores of downloads. Errors do not name the model.
func Beside(model, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("its weights are in %q, which is not below the model's folder", name)
	}
	path := filepath.Join(filepath.Dir(model), name)
	info, err := regular.Stat(path)
	if err != nil {
		return "", fmt.Errorf("its weights are in %s: %w", path, err)
	}
	if info.Size() > MaxExternalBytes {
		return "", fmt.Errorf("its weights are in %s: %w: %d bytes, where at most %d are read", path, regular.ErrTooLarge, info.Size(), int64(MaxExternalBytes))
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", regular.Reason(err)
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(model))
	if err != nil {
		return "", regular.Reason(err)
	}
	target, err := filepath.EvalSymlinks(model)
	if err != nil {
		return "", regular.Reason(err)
	}
	if !below(folder, file) && !below(filepath.Dir(target), file) {
		return "", errors.New("its weights are in " + path + ", a link that leads out of the model's folder: put the file itself in its place")
	}
	return path, nil
}

// below says whether a file lies in a folder or below it. Neither has a link in its path.
func below(folder, file string) bool {
	path, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(path)
}
