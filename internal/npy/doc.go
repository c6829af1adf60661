// Package npy reads and writes the headers of NumPy's .npy files, format versions 1.0 to
// 3.0, as the documentation of numpy.lib.format describes them: magic, version, the
// length of a text (2 bytes, little-endian; 4 since version 2.0), and the text, a
// literal of a Python dictionary with the keys descr, fortran_order and shape. The
// elements follow it.
//
// The literal is parsed, never evaluated.
package npy
