// Package pickle reads the pickles of face verification sets, and no others.
//
// A pickle is a program for a stack machine, and Python's own reader runs whatever function it
// names. This one calls nothing. It knows tuples, lists, None, booleans, integers, texts and
// byte strings of protocols 0 to 5, as Python 2 and 3 write them. It also knows the meaning of
// the calls that stand for data: byte strings of Python 3 in protocols 0 to 2 (_codecs.encode
// and bytes), bytearray, and numpy's arrays and scalars of integers and booleans.
// Everything else is refused by its name: [ErrRefused].
//
// Byte strings stay in the file. A [Bytes] says where they are and is read on demand. Only the
// structure is in memory, and [MaxCells] bounds it.
//
// The opcodes are those of Python's pickletools. numpy's states are what its __reduce__
// methods give.
package pickle
