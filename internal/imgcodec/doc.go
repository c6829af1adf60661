// Package imgcodec turns the bytes of a photograph into 8-bit RGB pixels and
// pixels into PNG.
//
// A [Format] is found by content, never by a file's name. A [Header] is what an image declares
// about itself before any pixel is decoded. [Limits] are checked against it, so that a small
// file cannot cause a large allocation. An [Image] is interleaved RGB, upright.
//
// There are two JPEG decoders, the standard library's and libjpeg-turbo, which differ in the
// last bits of a pixel. So a process chooses one ([Use]), and every dataset names it
// ([DecoderName]).
//
// Refusals wrap one of the package's sentinel errors, which say what kind of damage or limit
// it was. They never name the file, which only the caller knows.
package imgcodec
