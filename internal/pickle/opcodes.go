package pickle

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// opcode is one instruction. One without run is refused; only its name is known.
type opcode struct {
	name string
	run  func(m *machine, width int) error
	// width is the size in bytes of the number behind the opcode, or how many values it
	// takes.
	width int
}

// stop ends a pickle.
const stop = "STOP"

// maxProtocol is the newest version of the format.
const maxProtocol = 5

var opcodes = [256]opcode{
	0x80: {"PROTO", (*machine).opProto, 1},
	0x95: {"FRAME", (*machine).opFrame, 8},
	'.':  {name: stop},

	'(': {"MARK", (*machine).opMark, 0},
	'0': {"POP", (*machine).opPop, 0},
	'1': {"POP_MARK", (*machine).opPopMark, 0},
	'2': {"DUP", (*machine).opDup, 0},

	'N':  {"NONE", (*machine).opNone, 0},
	0x88: {"NEWTRUE", (*machine).opBool, 1},
	0x89: {"NEWFALSE", (*machine).opBool, 0},
	'I':  {"INT", (*machine).opIntLine, 0},
	'L':  {"LONG", (*machine).opLongLine, 0},
	'J':  {"BININT", (*machine).opInt, 4},
	'K':  {"BININT1", (*machine).opInt, 1},
	'M':  {"BININT2", (*machine).opInt, 2},
	0x8a: {"LONG1", (*machine).opLong, 1},
	0x8b: {"LONG4", (*machine).opLong, 4},

	'S':  {"STRING", (*machine).opString, 0},
	'T':  {"BINSTRING", (*machine).opBytes, 4},
	'U':  {"SHORT_BINSTRING", (*machine).opBytes, 1},
	'B':  {"BINBYTES", (*machine).opBytes, 4},
	'C':  {"SHORT_BINBYTES", (*machine).opBytes, 1},
	0x8e: {"BINBYTES8", (*machine).opBytes, 8},
	0x96: {"BYTEARRAY8", (*machine).opBytes, 8},
	'V':  {"UNICODE", (*machine).opUnicode, 0},
	'X':  {"BINUNICODE", (*machine).opText, 4},
	0x8c: {"SHORT_BINUNICODE", (*machine).opText, 1},
	0x8d: {"BINUNICODE8", (*machine).opText, 8},

	']':  {"EMPTY_LIST", (*machine).opEmptyList, 0},
	'l':  {"LIST", (*machine).opList, 0},
	'a':  {"APPEND", (*machine).opAppend, 0},
	'e':  {"APPENDS", (*machine).opAppends, 0},
	')':  {"EMPTY_TUPLE", (*machine).opTupleN, 0},
	0x85: {"TUPLE1", (*machine).opTupleN, 1},
	0x86: {"TUPLE2", (*machine).opTupleN, 2},
	0x87: {"TUPLE3", (*machine).opTupleN, 3},
	't':  {"TUPLE", (*machine).opTuple, 0},

	'p':  {"PUT", (*machine).opPutLine, 0},
	'q':  {"BINPUT", (*machine).opPut, 1},
	'r':  {"LONG_BINPUT", (*machine).opPut, 4},
	0x94: {"MEMOIZE", (*machine).opMemoize, 0},
	'g':  {"GET", (*machine).opGetLine, 0},
	'h':  {"BINGET", (*machine).opGet, 1},
	'j':  {"LONG_BINGET", (*machine).opGet, 4},

	'c':  {"GLOBAL", (*machine).opGlobal, 0},
	0x93: {"STACK_GLOBAL", (*machine).opStackGlobal, 0},
	'R':  {"REDUCE", (*machine).opReduce, 0},
	'b':  {"BUILD", (*machine).opBuild, 0},

	'F':  {name: "FLOAT"},
	'G':  {name: "BINFLOAT"},
	'}':  {name: "EMPTY_DICT"},
	'd':  {name: "DICT"},
	's':  {name: "SETITEM"},
	'u':  {name: "SETITEMS"},
	0x8f: {name: "EMPTY_SET"},
	0x90: {name: "ADDITEMS"},
	0x91: {name: "FROZENSET"},
	'i':  {name: "INST"},
	'o':  {name: "OBJ"},
	0x81: {name: "NEWOBJ"},
	0x92: {name: "NEWOBJ_EX"},
	'P':  {name: "PERSID"},
	'Q':  {name: "BINPERSID"},
	0x82: {name: "EXT1"},
	0x83: {name: "EXT2"},
	0x84: {name: "EXT4"},
	0x97: {name: "NEXT_BUFFER"},
	0x98: {name: "READONLY_BUFFER"},
}

func (m *machine) opProto(width int) error {
	v, err := m.in.unsigned(width)
	if err == nil && v > maxProtocol {
		err = fmt.Errorf("%w: protocol %d, the last that is known is %d", ErrRefused, v, maxProtocol)
	}
	return err
}

// opFrame passes over a frame's header. Frames only say how much to read at once.
func (m *machine) opFrame(width int) error {
	n, err := m.in.unsigned(width)
	if left := m.in.size - m.in.pos; err == nil && n > uint64(left) {
		err = fmt.Errorf("%w: %d bytes announced, %d are left", ErrMalformed, n, left)
	}
	return err
}

func (m *machine) opMark(int) error {
	m.marks = append(m.marks, len(m.stack))
	return m.spend(1)
}

// opPop takes the topmost value, or the mark if it is the topmost.
func (m *machine) opPop(int) error {
	if len(m.marks) > 0 && m.floor() == len(m.stack) {
		return m.opPopMark(0)
	}
	_, err := m.popN(1)
	return err
}

func (m *machine) opPopMark(int) error {
	_, err := m.popMark()
	return err
}

func (m *machine) opDup(int) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) opNone(int) error { return m.push(nil) }

func (m *machine) opBool(value int) error { return m.push(value == 1) }

// opIntLine reads an integer of protocol 0, where 00 and 01 are the booleans.
func (m *machine) opIntLine(int) error {
	at := m.in.pos
	v, err := m.numberLine()
	if err != nil {
		return err
	}
	if m.in.pos-at == int64(len("00\n")) && v <= 1 && v >= 0 {
		return m.push(v == 1)
	}
	return m.push(v)
}

func (m *machine) opLongLine(int) error {
	v, err := m.numberLine()
	if err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) opInt(width int) error {
	v, err := m.in.unsigned(width)
	if err != nil {
		return err
	}
	if width == 4 {
		return m.push(int64(int32(v)))
	}
	return m.push(int64(v))
}

// opLong reads an integer of as many bytes as the number behind the opcode says.
func (m *machine) opLong(width int) error {
	n, err := m.in.unsigned(width)
	if err != nil {
		return err
	}
	if n > 8 {
		return fmt.Errorf("%w: integer of %d bytes", ErrRefused, n)
	}
	b, err := m.in.take(int(n))
	if err != nil {
		return err
	}
	var wide [8]byte
	if n > 0 && b[n-1] >= 0x80 { // negative
		wide = [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	}
	copy(wide[:], b)
	return m.push(int64(binary.LittleEndian.Uint64(wide[:])))
}

// counted passes over as many bytes as the number behind the opcode says.
func (m *machine) counted(width int) (span, error) {
	n, err := m.in.unsigned(width)
	if err != nil {
		return span{}, err
	}
	return m.in.skip(n)
}

func (m *machine) opBytes(width int) error {
	at, err := m.counted(width)
	if err != nil {
		return err
	}
	return m.push(Bytes{span: at})
}

func (m *machine) opText(width int) error {
	at, err := m.counted(width)
	if err != nil {
		return err
	}
	return m.push(Text{span: at})
}

func (m *machine) opString(int) error {
	at, err := m.in.line()
	if err != nil {
		return err
	}
	return m.push(Bytes{span: at, form: quoted})
}

func (m *machine) opUnicode(int) error {
	at, err := m.in.line()
	if err != nil {
		return err
	}
	return m.push(Text{span: at, form: escaped})
}

func (m *machine) opEmptyList(int) error { return m.push(&List{}) }

func (m *machine) opList(int) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.push(&List{Items: slices.Clone(items)})
}

func (m *machine) opAppend(int) error {
	items, err := m.popN(1)
	if err != nil {
		return err
	}
	return m.extend(items)
}

func (m *machine) opAppends(int) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.extend(items)
}

// extend appends to the list that is the topmost value.
func (m *machine) extend(items []Value) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	list, ok := v.(*List)
	if !ok {
		return fmt.Errorf("%w: append to %s", ErrRefused, Describe(v))
	}
	list.Items = append(list.Items, items...)
	return nil
}

func (m *machine) opTupleN(n int) error {
	items, err := m.popN(n)
	if err != nil {
		return err
	}
	return m.push(Tuple(slices.Clone(items)))
}

func (m *machine) opTuple(int) error {
	items, err := m.popMark()
	if err != nil {
		return err
	}
	return m.push(Tuple(slices.Clone(items)))
}

func (m *machine) opPutLine(int) error {
	key, err := m.numberLine()
	if err != nil {
		return err
	}
	return m.keep(key)
}

func (m *machine) opPut(width int) error {
	key, err := m.in.unsigned(width)
	if err != nil {
		return err
	}
	return m.keep(int64(key))
}

func (m *machine) opMemoize(int) error { return m.keep(int64(len(m.memo))) }

func (m *machine) opGetLine(int) error {
	key, err := m.numberLine()
	if err != nil {
		return err
	}
	return m.recall(key)
}

func (m *machine) opGet(width int) error {
	key, err := m.in.unsigned(width)
	if err != nil {
		return err
	}
	return m.recall(int64(key))
}

func (m *machine) opGlobal(int) error {
	module, err := m.shortLine()
	if err != nil {
		return err
	}
	name, err := m.shortLine()
	if err != nil {
		return err
	}
	return m.name(module, name)
}

func (m *machine) opStackGlobal(int) error {
	names, err := m.popN(2)
	if err != nil {
		return err
	}
	module, err := m.short(names[0])
	if err != nil {
		return err
	}
	name, err := m.short(names[1])
	if err != nil {
		return err
	}
	return m.name(module, name)
}

func (m *machine) opReduce(int) error {
	call, err := m.popN(2)
	if err != nil {
		return err
	}
	g, ok := call[0].(global)
	if !ok {
		return fmt.Errorf("%w: call of %s", ErrRefused, Describe(call[0]))
	}
	args, ok := call[1].(Tuple)
	if !ok {
		return fmt.Errorf("%w: call with %s", ErrRefused, Describe(call[1]))
	}
	v, err := m.reduce(g, args)
	if err != nil {
		return err
	}
	if err := m.spend(maxAxes); err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) opBuild(int) error {
	state, err := m.popN(1)
	if err != nil {
		return err
	}
	target, err := m.top()
	if err != nil {
		return err
	}
	return m.build(target, state[0])
}
