package pickle

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ErrRefused marks a pickle that holds something other than known data, such as a function
// that Python would run.
var ErrRefused = errors.New("refused")

// ErrMalformed marks bytes that are no pickle, or a pickle that is damaged or cut short.
var ErrMalformed = errors.New("malformed pickle")

// MaxCells bounds the values that a pickle may make, with the elements of its tuples and
// lists. A set of a million images, or of eighty thousand arrays, stays below.
const MaxCells = 1 << 22

// maxShort bounds names, numbers and other text that is looked at.
const maxShort = 256

// machine is the stack machine that runs a pickle.
type machine struct {
	in    *scanner
	stack []Value
	marks []int // heights of the stack
	memo  map[uint32]Value
	cells int
	known map[string]global
}

// Load reads a pickle from a file of size bytes. Its byte strings are read later, out of the
// same file. An error says at which byte it is, and wraps [ErrRefused], [ErrMalformed] or the
// error of reading the file.
func Load(file io.ReaderAt, size int64) (Value, error) {
	m := &machine{in: newScanner(file, size), memo: map[uint32]Value{}, known: globals()}
	for {
		at := m.in.pos
		done, err := m.step()
		if err != nil {
			return nil, fmt.Errorf("byte %d: %w", at, err)
		}
		if done {
			return m.result()
		}
	}
}

// step runs one opcode. done says that it was the last.
func (m *machine) step() (done bool, err error) {
	code, err := m.in.take(1)
	if err != nil {
		return false, err
	}
	op := opcodes[code[0]]
	switch {
	case op.name == "":
		return false, fmt.Errorf("%w: no opcode 0x%02x", ErrMalformed, code[0])
	case op.name == stop:
		return true, nil
	case op.run == nil:
		return false, fmt.Errorf("%w: opcode %s", ErrRefused, op.name)
	}
	if err := op.run(m, op.width); err != nil {
		return false, fmt.Errorf("opcode %s: %w", op.name, err)
	}
	return false, nil
}

func (m *machine) result() (Value, error) {
	if len(m.stack) != 1 || len(m.marks) != 0 {
		return nil, fmt.Errorf("%w: leaves %d values and %d marks, want one value", ErrMalformed, len(m.stack), len(m.marks))
	}
	if left := m.in.size - m.in.pos; left != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind its end", ErrMalformed, left)
	}
	return m.stack[0], nil
}

// spend counts cells.
func (m *machine) spend(n int) error {
	if m.cells += n; m.cells > MaxCells {
		return fmt.Errorf("%w: makes more than %d values", ErrRefused, MaxCells)
	}
	return nil
}

func (m *machine) push(v Value) error {
	m.stack = append(m.stack, v)
	return m.spend(1)
}

// floor is the height of the stack at the last mark. What lies below is not to be taken.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

// popN takes the n topmost values; they are valid until the next push.
func (m *machine) popN(n int) ([]Value, error) {
	at := len(m.stack) - n
	if at < m.floor() {
		return nil, fmt.Errorf("%w: too few values on the stack", ErrMalformed)
	}
	top := m.stack[at:]
	m.stack = m.stack[:at]
	return top, nil
}

// popMark takes the values above the last mark, and the mark.
func (m *machine) popMark() ([]Value, error) {
	if len(m.marks) == 0 {
		return nil, fmt.Errorf("%w: no mark", ErrMalformed)
	}
	top, err := m.popN(len(m.stack) - m.floor())
	m.marks = m.marks[:len(m.marks)-1]
	return top, err
}

func (m *machine) top() (Value, error) {
	if len(m.stack) <= m.floor() {
		return nil, fmt.Errorf("%w: too few values on the stack", ErrMalformed)
	}
	return m.stack[len(m.stack)-1], nil
}

// short reads a text or byte string that should be short.
func (m *machine) short(v Value) (string, error) {
	var b Bytes
	switch v := v.(type) {
	case Text:
		b = Bytes(v)
	case Bytes:
		b = v
	default:
		return "", fmt.Errorf("%w: %s where a name should be", ErrMalformed, Describe(v))
	}
	if b.Length > maxShort {
		return "", fmt.Errorf("%w: a name of %d bytes", ErrRefused, b.Length)
	}
	data, err := b.Read(m.in.r)
	return string(data), err
}

// shortLine reads a line that should be short.
func (m *machine) shortLine() (string, error) {
	at, err := m.in.line()
	if err != nil {
		return "", err
	}
	if at.Length > maxShort {
		return "", fmt.Errorf("%w: a line of %d bytes where a short one should be", ErrMalformed, at.Length)
	}
	data, err := at.read(m.in.r)
	return strings.TrimSpace(string(data)), err
}

// numberLine reads a line that holds an integer.
func (m *machine) numberLine() (int64, error) {
	text, err := m.shortLine()
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(strings.TrimSuffix(text, "L"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: number %q", ErrMalformed, text)
	}
	return v, nil
}

// name pushes a global, if it is known.
func (m *machine) name(module, name string) error {
	full := module + "." + name
	g, ok := m.known[full]
	if !ok {
		return fmt.Errorf("%w: global %q", ErrRefused, full)
	}
	return m.push(g)
}

// keep puts the topmost value into the memo.
func (m *machine) keep(key int64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if key < 0 || key > 1<<32-1 {
		return fmt.Errorf("%w: memo number %d", ErrMalformed, key)
	}
	m.memo[uint32(key)] = v
	return m.spend(1)
}

func (m *machine) recall(key int64) error {
	v, ok := m.memo[uint32(key)]
	if !ok || key < 0 || key > 1<<32-1 {
		return fmt.Errorf("%w: nothing under memo number %d", ErrMalformed, key)
	}
	return m.push(v)
}
