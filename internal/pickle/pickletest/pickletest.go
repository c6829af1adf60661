// Package pickletest writes verification sets as the pickles that several versions of
// Python, with and without numpy, make of them.
package pickletest

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Dialect is one way to write a verification set: a tuple of the images, a list, and of
// whether each pair of them shows one person.
type Dialect struct {
	Name string
	Dump func(images [][]byte, same []bool) []byte
}

// Dialects are all that there are.
func Dialects() []Dialect {
	return []Dialect{
		{"Python 2, protocol 0", lines{image: quotedString}.dump},
		{"Python 2, protocol 2", binaries{protocol: 2, image: counted('U', 'T')}.dump},
		{"Python 3, protocol 0", lines{image: escapedText}.dump},
		{"Python 3, protocol 2", binaries{protocol: 2, image: latin1Text}.dump},
		{"Python 3, protocol 3", binaries{protocol: 3, image: counted('C', 'B')}.dump},
		{"Python 3, protocol 4", binaries{protocol: 4, image: counted('C', 'B')}.dump},
		{"Python 3, protocol 5, bytearray", binaries{protocol: 5, image: byteArray}.dump},
		{"Python 2, numpy", binaries{protocol: 2, image: array("numpy.core", counted('U', 'T')), flag: scalar("numpy.core", 'U')}.dump},
		{"Python 3, numpy 2", binaries{protocol: 4, image: array("numpy._core", counted('C', 'B')), flag: scalar("numpy._core", 'C')}.dump},
		{"Python 3, numpy 2, protocol 5", binaries{protocol: 5, image: arrayFromBuffer, flag: scalar("numpy._core", 'C')}.dump},
	}
}

// lines is protocol 0, which is text.
type lines struct{ image func([]byte) string }

func (l lines) dump(images [][]byte, same []bool) []byte {
	var b strings.Builder
	b.WriteString("((lp0\n")
	for i, image := range images {
		fmt.Fprintf(&b, "%sp%d\na", l.image(image), i+1)
	}
	b.WriteString("(l")
	for _, s := range same {
		b.WriteString(map[bool]string{true: "I01\na", false: "I00\na"}[s])
	}
	b.WriteString("t.")
	return []byte(b.String())
}

// quotedString is Python 2's repr.
func quotedString(data []byte) string {
	var b strings.Builder
	b.WriteString("S'")
	for _, c := range data {
		switch {
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\'' || c == '\\':
			b.WriteString(`\` + string(rune(c)))
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + "'\n"
}

// escapedText is the call that Python 3 writes for bytes.
func escapedText(data []byte) string {
	var b strings.Builder
	b.WriteString("c_codecs\nencode\n(V")
	for _, c := range data {
		if c == '\\' || c == '\n' || c == '\r' || c == 0 || c == 0x1a {
			fmt.Fprintf(&b, `\u%04x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String() + "\nVlatin1\ntR"
}

// binaries are the protocols from 2 on. Since 4 there are frames, and the memo counts by
// itself.
type binaries struct {
	protocol byte
	image    func(*program, []byte)
	flag     func(*program, bool)
}

func (d binaries) dump(images [][]byte, same []bool) []byte {
	p := &program{counts: d.protocol >= 4}
	p.add("]").memo()
	p.add("(")
	for _, image := range images {
		d.image(p, image)
		p.memo()
	}
	p.add("e]").memo()
	p.add("(")
	for _, s := range same {
		if d.flag != nil {
			d.flag(p, s)
		} else {
			p.add(map[bool]string{true: "\x88", false: "\x89"}[s])
		}
	}
	p.add("e\x86").memo()
	p.add(".")
	head := []byte{0x80, d.protocol}
	if p.counts {
		head = binary.LittleEndian.AppendUint64(append(head, 0x95), uint64(len(p.code)))
	}
	return append(head, p.code...)
}

// program is a pickle on its way.
type program struct {
	code   []byte
	counts bool // MEMOIZE instead of BINPUT
	next   uint32
}

func (p *program) add(code string) *program {
	p.code = append(p.code, code...)
	return p
}

func (p *program) memo() {
	switch {
	case p.counts:
		p.add("\x94")
	case p.next < 256:
		p.add("q" + string([]byte{byte(p.next)}))
	default:
		p.code = binary.LittleEndian.AppendUint32(append(p.code, 'r'), p.next)
	}
	p.next++
}

// counted writes bytes behind their number, of one byte or of four.
func counted(short, long byte) func(*program, []byte) {
	return func(p *program, data []byte) {
		if len(data) < 256 {
			p.code = append(p.code, short, byte(len(data)))
		} else {
			p.code = binary.LittleEndian.AppendUint32(append(p.code, long), uint32(len(data)))
		}
		p.code = append(p.code, data...)
	}
}

func latin1Text(p *program, data []byte) {
	text := make([]rune, len(data))
	for i, c := range data {
		text[i] = rune(c)
	}
	encoded := string(text)
	p.add("c_codecs\nencode\nX")
	p.code = binary.LittleEndian.AppendUint32(p.code, uint32(len(encoded)))
	p.add(encoded + "X\x06\x00\x00\x00latin1\x86R")
}

func byteArray(p *program, data []byte) {
	p.code = binary.LittleEndian.AppendUint64(append(p.code, 0x96), uint64(len(data)))
	p.code = append(p.code, data...)
}

// elementState is what numpy says of a type of one byte.
const elementState = "(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"

func number(n int) string {
	return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// array is a column of numpy's bytes, as cv2.imencode gives them.
func array(core string, write func(*program, []byte)) func(*program, []byte) {
	return func(p *program, data []byte) {
		p.add("c" + core + ".multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R")
		p.add("(K\x01" + number(len(data)) + "K\x01\x86cnumpy\ndtype\nU\x02u1\x89\x88\x87R" + elementState + "\x89")
		write(p, data)
		p.add("tb")
	}
}

func arrayFromBuffer(p *program, data []byte) {
	p.add("\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(")
	byteArray(p, data)
	p.add("\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02u1\x89\x88\x87R" + elementState + number(len(data)) + "\x85\x8c\x01CtR")
}

// scalar is a boolean of numpy's.
func scalar(core string, short byte) func(*program, bool) {
	return func(p *program, value bool) {
		p.add("c" + core + ".multiarray\nscalar\ncnumpy\ndtype\nU\x02b1K\x00K\x01\x87R" + elementState)
		p.add(string([]byte{short, 1}))
		p.code = append(p.code, map[bool]byte{true: 1, false: 0}[value])
		p.add("\x86R")
	}
}
