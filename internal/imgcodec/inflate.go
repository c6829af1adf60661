package imgcodec

import (
	"encoding/binary"
	"math/bits"
)

// DEFLATE (RFC 1951) and zlib (RFC 1950).
const (
	maxCodeLen    = 15
	endOfBlock    = 256
	literalCodes  = 286 // that are used, of 288
	distanceCodes = 30  // that are used, of 32
	longestMatch  = 258

	zlibHeaderLen = 2
	zlibSumLen    = 4
	// A look-up takes a code of so many bits, or literals of so many together. Longer codes are
	// rare and are searched for.
	lookupBits = 11
	// inflateSlack is by how much the slices of [inflater.inflate] are longer than their contents,
	// so that the inner loop need not look for their ends: words are read and written whole.
	inflateSlack = 16
	// lookups are as many as one refill allows, of 56 bits.
	lookups = 4
)

// inflater decompresses what fits in memory, at three times the speed of the standard library: it
// looks up three literals at a time and reads eight bytes. It does not say what is wrong with its
// input, which the standard library can.
type inflater struct {
	src  []byte
	at   int    // of the next byte
	bits uint64 // that were read and not used, the next one lowest
	n    int    // how many

	lengths             [literalCodes + 2 + distanceCodes + 2]byte
	literals, distances codes
}

// codes are the Huffman codes of an alphabet.
type codes struct {
	lookup [1 << lookupBits]entry
	// literals is the number of symbols that stand for bytes; they come first.
	literals int
	// The symbols in the order of their codes, and by length of the codes: how many there are, the
	// place in symbols behind the last one, and the number behind it, written in maxCodeLen bits.
	symbols      [literalCodes + 2]uint16
	counts       [maxCodeLen + 1]uint16
	places, ends [maxCodeLen + 1]int
}

// entry is what the next bits mean: from the lowest bit on, the length of the codes in 6 bits,
// the number of literals in 2, and these in 8 each, or another symbol. Zero is a code that is
// longer, or none.
type entry uint32

const (
	entryLen   = 1<<6 - 1
	oneLiteral = 1 << 6
	entryValue = 8
)

func (e entry) literals() int { return int(e >> 6 & 3) }

// inflate decompresses a zlib stream of srcLen bytes to exactly dstLen bytes. Both slices are
// [inflateSlack] longer. It reports whether the stream is whole and fits.
func (z *inflater) inflate(dst, src []byte) bool {
	srcLen, dstLen := len(src)-inflateSlack, len(dst)-inflateSlack
	if srcLen < zlibHeaderLen+zlibSumLen {
		return false
	}
	const method, deflate, largestWindow, dictionary = 0x0f00, 0x0800, 0x7800, 0x0020
	header := binary.BigEndian.Uint16(src)
	if header&method != deflate || header > largestWindow|0xff || header%31 != 0 || header&dictionary != 0 {
		return false
	}
	z.src, z.at, z.bits, z.n = src, zlibHeaderLen, 0, 0
	out := 0
	for last := false; !last; {
		if !z.refill() {
			return false
		}
		last = z.take(1) == 1
		ok := false
		switch z.take(2) {
		case 0:
			out, ok = z.stored(dst, out)
		case 1:
			z.fixedCodes()
			out, ok = z.compressed(dst, out)
		case 2:
			if z.dynamicCodes() {
				out, ok = z.compressed(dst, out)
			}
		}
		if !ok {
			return false
		}
	}
	end := z.at - z.n/8
	return out == dstLen && end+zlibSumLen == srcLen && binary.BigEndian.Uint32(src[end:]) == adler32(dst[:dstLen])
}

// refill brings 56 bits or more, unless the stream has ended.
func (z *inflater) refill() bool {
	if z.at > len(z.src)-8 {
		return false
	}
	z.bits |= binary.LittleEndian.Uint64(z.src[z.at:]) << z.n
	z.at += (63 - z.n) >> 3
	z.n |= 56
	return true
}

// take is a number of bits that are there.
func (z *inflater) take(n int) int {
	v := z.bits & (1<<n - 1)
	z.bits >>= n
	z.n -= n
	return int(v)
}

// stored copies a block that is not compressed.
func (z *inflater) stored(dst []byte, out int) (int, bool) {
	z.take(z.n & 7)
	at := z.at - z.n/8
	size, inverse := binary.LittleEndian.Uint16(z.src[at:]), binary.LittleEndian.Uint16(z.src[at+2:])
	at += 4
	end := at + int(size)
	if size != ^inverse || end > len(z.src)-inflateSlack || out+int(size) > len(dst)-inflateSlack {
		return out, false
	}
	copy(dst[out:], z.src[at:end])
	z.at, z.bits, z.n = end, 0, 0
	return out + int(size), true
}

// compressed decodes the symbols of a block.
func (z *inflater) compressed(dst []byte, out int) (int, bool) {
	for {
		out = z.runOfLiterals(dst, out)
		if out > len(dst)-inflateSlack || !z.refill() {
			return out, false
		}
		symbol, ok := z.next(&z.literals)
		if symbol == endOfBlock {
			return out, true
		}
		if ok = ok && symbol > endOfBlock; ok {
			out, ok = z.match(dst, out, symbol)
		}
		if !ok {
			return out, false
		}
	}
}

// runOfLiterals decodes literals until something else comes, or dst is full.
func (z *inflater) runOfLiterals(dst []byte, out int) int {
	src, at, word, n := z.src, z.at, z.bits, uint(z.n)
	lookup := &z.literals.lookup
run:
	for at <= len(src)-8 && out <= len(dst)-inflateSlack {
		word |= binary.LittleEndian.Uint64(src[at:]) << (n & 63)
		at += int((63 - n) >> 3)
		n |= 56
		for i := 0; i < lookups && out <= len(dst)-inflateSlack; i++ {
			e := lookup[word&(1<<lookupBits-1)]
			if e.literals() == 0 {
				if e == 0 {
					e, i = z.literals.long(word), lookups
				}
				if e.literals() == 0 {
					break run
				}
			}
			// Three literals are written whatever their number, and the length behind them.
			binary.LittleEndian.PutUint32(dst[out:], bits.RotateLeft32(uint32(e), -entryValue))
			out += e.literals()
			word >>= e & entryLen
			n -= uint(e & entryLen)
		}
	}
	z.at, z.bits, z.n = at, word, int(n)
	return out
}

// match repeats what was decoded before. Enough bits must be there.
func (z *inflater) match(dst []byte, out, symbol int) (int, bool) {
	if symbol >= literalCodes {
		return out, false
	}
	length := longestMatch
	if symbol < literalCodes-1 {
		length = 3 + z.ranged(symbol-endOfBlock-1, 4)
	}
	symbol, ok := z.next(&z.distances)
	if !ok || symbol >= distanceCodes {
		return out, false
	}
	distance := 1 + z.ranged(symbol, 2)
	if distance > out || out+length > len(dst)-inflateSlack {
		return out, false
	}
	for end := out + length; out < end; {
		// What overlaps is copied in steps, each as long as all that has been repeated.
		from := out - distance
		out += copy(dst[out:end], dst[from:out])
	}
	return out, true
}

// ranged is the value of a symbol with extra bits. In each octave of values there are as many
// symbols as steps; the first two octaves have no extra bits.
func (z *inflater) ranged(symbol, steps int) int {
	if symbol < 2*steps {
		return symbol
	}
	extra := symbol/steps - 1
	return (steps+symbol%steps)<<extra + z.take(extra)
}

// next decodes a symbol, of bits that are there.
func (z *inflater) next(c *codes) (symbol int, ok bool) {
	e := c.lookup[z.bits&(1<<lookupBits-1)]
	if e == 0 {
		e = c.long(z.bits)
	}
	z.take(int(e & entryLen))
	return int(e >> entryValue), e != 0
}

// long is what a code means that is longer than a look-up. Codes of one length are consecutive
// numbers, and those of shorter codes are smaller when all are written in as many bits.
func (c *codes) long(word uint64) entry {
	code := int(bits.Reverse16(uint16(word)) >> (16 - maxCodeLen))
	for n := lookupBits + 1; n <= maxCodeLen; n++ {
		if code < c.ends[n] {
			return c.entry(int(c.symbols[c.places[n]-1-(c.ends[n]-1-code)>>(maxCodeLen-n)]), n)
		}
	}
	return 0
}

// entry is that of a symbol whose code has n bits.
func (c *codes) entry(symbol, n int) entry {
	e := entry(symbol<<entryValue | n)
	if symbol < c.literals {
		e |= oneLiteral
	}
	return e
}

// fixedCodes makes the codes of RFC 1951, 3.2.6.
func (z *inflater) fixedCodes() {
	lengths := z.lengths[:literalCodes+2]
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	z.literals.build(lengths, endOfBlock)
	z.literals.join()
	lengths = z.lengths[:distanceCodes+2]
	for i := range lengths {
		lengths[i] = 5
	}
	z.distances.build(lengths, 0)
}

// codeLengthOrder is in which order the lengths of the codes for lengths come.
var codeLengthOrder = [...]byte{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// dynamicCodes reads the codes of a block (RFC 1951, 3.2.7).
func (z *inflater) dynamicCodes() bool {
	literals, distances, n := 257+z.take(5), 1+z.take(5), 4+z.take(4)
	if literals > literalCodes || distances > distanceCodes {
		return false
	}
	var short [len(codeLengthOrder)]byte
	for _, symbol := range codeLengthOrder[:n] {
		if !z.refill() {
			return false
		}
		short[symbol] = byte(z.take(3))
	}
	if !z.distances.build(short[:], 0) {
		return false
	}
	lengths := z.lengths[:literals+distances]
	if !z.codeLengths(lengths) || !z.literals.build(lengths[:literals], endOfBlock) || !z.distances.build(lengths[literals:], 0) {
		return false
	}
	z.literals.join()
	return true
}

// codeLengths reads the lengths of codes, of which some stand for repetitions.
func (z *inflater) codeLengths(lengths []byte) bool {
	for i := 0; i < len(lengths); {
		if !z.refill() {
			return false
		}
		symbol, ok := z.next(&z.distances)
		if !ok {
			return false
		}
		length, repeat := byte(0), 1
		switch symbol {
		default:
			length = byte(symbol)
		case 16:
			if i == 0 {
				return false
			}
			length, repeat = lengths[i-1], 3+z.take(2)
		case 17:
			repeat = 3 + z.take(3)
		case 18:
			repeat = 11 + z.take(7)
		}
		if repeat > len(lengths)-i {
			return false
		}
		for range repeat {
			lengths[i] = length
			i++
		}
	}
	return true
}

// build makes the codes of symbols with code lengths. It reports whether every sequence of bits
// is a code; there may also be no code at all, or one, of one bit.
func (c *codes) build(lengths []byte, literals int) bool {
	c.literals = literals
	clear(c.counts[:])
	for _, n := range lengths {
		c.counts[n]++
	}
	c.counts[0] = 0
	code, place := 0, 0
	var codes [maxCodeLen + 1]int // the next of each length
	for n := 1; n <= maxCodeLen; n++ {
		codes[n], c.places[n] = code, place
		code += int(c.counts[n])
		place += int(c.counts[n])
		c.ends[n] = code << (maxCodeLen - n)
		code <<= 1
	}
	if code != 2<<maxCodeLen && place != 0 && (place != 1 || c.counts[1] != 1) {
		return false
	}
	clear(c.lookup[:])
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		c.symbols[c.places[n]] = uint16(symbol)
		c.places[n]++
		// The stream has the highest bit of a code first, so that it is the lowest here.
		reversed := int(bits.Reverse16(uint16(codes[n])) >> (16 - n))
		codes[n]++
		if n > lookupBits {
			continue
		}
		e := c.entry(symbol, int(n))
		for i := reversed; i < len(c.lookup); i += 1 << n {
			c.lookup[i] = e
		}
	}
	return true
}

// join joins up to three literals whose codes fit into a look-up together.
func (c *codes) join() {
	// What follows a code stands at a smaller index, which still has a single literal.
	for i := len(c.lookup) - 1; i >= 0; i-- {
		e := c.lookup[i]
		for range 2 {
			next := c.lookup[i>>(e&entryLen)]
			if e.literals() == 0 || next.literals() != 1 || e&entryLen+next&entryLen > lookupBits {
				break
			}
			e = e + next&entryLen + oneLiteral | next>>entryValue<<(entryValue+8*e.literals())
		}
		c.lookup[i] = e
	}
}

// adler32 is the checksum of RFC 1950, of eight bytes at a time.
func adler32(data []byte) uint32 {
	const modulus, most = 65521, 1 << 20 // bytes whose sums fit into a word
	const even = 0x00ff00ff00ff00ff
	a, b := uint64(1), uint64(0)
	for len(data) > 0 {
		part := data[:min(most, len(data))]
		data = data[len(part):]
		for ; len(part) >= 8; part = part[8:] {
			v := binary.LittleEndian.Uint64(part)
			// The upper lane of a product is the sum of the lanes, each times its factor.
			first, second := v&even, v>>8&even
			b += 8*a + (first*0x0008000600040002)>>48 + (second*0x0007000500030001)>>48
			a += ((first + second) * 0x0001000100010001) >> 48
		}
		for _, v := range part {
			a += uint64(v)
			b += a
		}
		a, b = a%modulus, b%modulus
	}
	return uint32(b<<16 | a)
}
