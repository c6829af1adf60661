// Package powerloss lets tests cut the power. A [Disk] is a file system that passes all calls
// on to the operating system's. It keeps a [History] of them: which bytes were written, which
// files were synced, which names were given and which folders were synced. After any number of
// calls, a [Volume] knows all that a disk may hold when the power comes back.
//
// What POSIX promises is little. A file's bytes are durable after fsync of the file, a name
// after fsync of its folder, and neither implies the other. Until then any part may have
// survived: blocks of a file in any order, its length without its bytes, the later of two
// renamings without the earlier. A single renaming is atomic: there is the old name or the
// new, never both or none.
package powerloss
