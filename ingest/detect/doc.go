// Package detect finds faces and their five landmarks in a photograph.
//
// A [Detector] is an ONNX model of one of two families, SCRFD or YuNet, in an ONNX
// Runtime session. It looks at a canvas: the photograph, shrunk where needed, on a
// black square ([placement]). At every cell of three or five grids of growing
// stride the model gives scores, a box and landmarks relative to the cell (a
// level); the families differ in how these numbers are to be read. What scores
// high enough becomes a [Face] in the photograph's pixels, and of faces that
// overlap the best one is kept. [Main] chooses the face that a portrait is of.
package detect
