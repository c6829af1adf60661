// Package embed turns aligned face crops into embeddings with an ONNX model.
// Teachers and finished students are both run by it.
//
// A [Preprocess] is the contract under which a model was trained: what happens to a
// crop's 8-bit pixels before the model sees them. A [Model] is an opened ONNX file
// with its contract. It runs batches of one fixed shape, the last of which is padded,
// and gives raw embeddings: not normalised, as the norm tells of a face's quality.
// [Model.Stream] is the pipeline from crops to embeddings for any number of crops.
package embed
