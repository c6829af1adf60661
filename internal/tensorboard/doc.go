// Package tensorboard writes the event files that TensorBoard shows: a series of
// records, each framed as TensorFlow's TFRecord and holding one Event, a protocol
// buffer. Only scalars are written.
//
// A record is its length (uint64), the masked CRC-32C of these 8 bytes, the bytes, and
// their masked CRC-32C, all little-endian. Of Event's fields these are used: wall_time 1
// (double), step 2 (int64), file_version 3 (string), summary 5 and session_log 7; of
// Summary value 1, of which tag 1 (string) and simple_value 2 (float); of SessionLog
// status 1 (START is 1).
//
// A run that goes on after step n takes later steps again. So that nobody sees them twice, its
// files are cut after the last event that is to stay, and a new file begins with a START at
// step n+1. A reader that follows the run drops what it has of that step and later ones.
// Readers take the first START of a run for its beginning and others for restarts, so the
// first file has one, too. They read files in the order of their names and never go back to
// one, so a process never appends to another's file.
package tensorboard
