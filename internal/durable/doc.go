// Package durable writes files that survive: after a call returns nil the file is
// complete under its name and stays so through kill -9 and a loss of power; before
// that there is nothing under the name, or the file that was there before.
//
// A commit is always the same short list: a temporary file (named ".tmp-*") in the
// folder of the target, write, fsync, rename or link, fsync of the folder. The
// folder matters as much as the file: without its fsync a new name may vanish.
//
// An [FS] is the handful of operations that a commit consists of, so that tests
// can record their order or make one of them fail. A [Disk] commits through an FS;
// the package's functions use the operating system's. A [Lock] keeps a second
// process out of a folder and lets go by itself when its holder dies.
package durable
