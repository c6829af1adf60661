// Package pickle reads the pickles that face verification sets are kept in, and
// nothing else.
//
// A pickle is a program for a stack machine, and Python's own reader runs whatever
// function it names. This one knows tuples, lists, None, booleans, integers, texts and
// byte strings of protocols 0 to 5, as Python 2 and 3 write them, and those calls that
// stand for data: byte strings of Python 3 in protocols 0 to 2 (_codecs.encode and
// bytes), and numpy's arrays and scalars of 8-bit unsigned integers and booleans. Those
// are understood, not called. Everything else is refused by its name: [ErrRefused].
//
// Byte strings are not copied out of the file: a [Bytes] says where they are and is read
// on demand. So what is in memory is the structure, which [MaxCells] bounds.
//
// The opcodes are those of Python's pickletools; numpy's states are those that its
// __reduce__ methods give.
package pickle
