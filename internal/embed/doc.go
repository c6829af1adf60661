// Package embed turns aligned face crops into embeddings with an ONNX model. It runs teachers
// and finished students.
//
// A [Preprocess] is the contract under which a model was trained: what happens to a crop's
// 8-bit pixels before the model sees them. A [Model] is an opened ONNX file with its contract.
// It runs batches of one fixed shape, of which the last is padded. Its embeddings are raw:
// they are not normalised, as the norm says something of a face's quality. [Model.Stream] is
// the pipeline from crops to embeddings for any number of crops.
package embed
