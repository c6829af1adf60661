// Package imgcodec turns the bytes of a photograph into 8-bit RGB pixels and
// pixels into PNG.
//
// A [Format] is found by content, never by a file's name. A [Header] is what an
// image declares about itself before any pixel is decoded; [Limits] are checked
// against it, so that a small file cannot ask for a large allocation. An [Image]
// is what everything downstream works on: interleaved RGB, upright.
//
// Two JPEG decoders stand behind one interface, the standard library's and
// libjpeg-turbo's, and they differ in the last bits of a pixel. The one in use is
// therefore chosen once a process ([Use]) and named in every dataset
// ([DecoderName]).
//
// Refusals wrap one of the package's sentinel errors, which say what kind of
// damage or limit was met; they never name the file, which only the caller knows.
package imgcodec
