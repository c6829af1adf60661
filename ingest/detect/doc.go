// Package detect finds faces and their five landmarks in a photograph.
//
// A [Detector] is an ONNX model of one of two families, SCRFD or YuNet, in an ONNX Runtime
// session. It looks at a canvas: the photograph, shrunk where needed, on a black square
// ([placement]). A [level] is a grid of cells, at each of which the model gives scores, a box
// and landmarks relative to the cell. Families differ in how to read these numbers. What scores
// high enough becomes a [Face] in the photograph's pixels; of faces that overlap the best is
// kept. [Main] chooses the face that a portrait is of.
package detect
