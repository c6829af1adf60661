package imgcodec

import "bytes"

// pnm is the header of a PGM (P2, P5) or PPM (P3, P6): the magic, width, height and the largest
// sample value in text, between them white space and comments from # to the end of the line
// (the netpbm formats of Poskanzer).
type pnm struct {
	w, h, max int
	channels  int
	text      bool   // samples are decimal numbers
	rest      []byte // behind the header
}

func parsePNM(data []byte) (p pnm, err error) {
	kind := data[1]
	p.channels, p.text = 1, kind == '2' || kind == '3'
	if kind == '3' || kind == '6' {
		p.channels = 3
	}
	p.rest = data[2:]
	for _, v := range []*int{&p.w, &p.h, &p.max} {
		if *v, err = p.number(); err != nil {
			return p, err
		}
	}
	const most = 1<<16 - 1
	if p.max < 1 || p.max > most {
		return p, refusal(ErrCorrupt, PNM, "has samples up to %d, want 1 to %d", p.max, most)
	}
	if len(p.rest) > 0 {
		p.rest = p.rest[1:] // one white space, whatever follows
	}
	return p, nil
}

// number takes the next number in text.
func (p *pnm) number() (int, error) {
	for {
		p.rest = bytes.TrimLeft(p.rest, " \t\r\n\v\f")
		if !bytes.HasPrefix(p.rest, []byte("#")) {
			break
		}
		_, p.rest, _ = bytes.Cut(p.rest, []byte("\n"))
	}
	if len(p.rest) == 0 {
		return 0, refusal(ErrTruncated, PNM, "ends before its last pixel")
	}
	n, digits := 0, 0
	for digits < len(p.rest) && p.rest[digits] >= '0' && p.rest[digits] <= '9' {
		const most = 1 << 30
		if n = 10*n + int(p.rest[digits]-'0'); n > most {
			return 0, refusal(ErrCorrupt, PNM, "has a number above %d", most)
		}
		digits++
	}
	if digits == 0 {
		return 0, refusal(ErrCorrupt, PNM, "has %q where a number belongs", p.rest[0])
	}
	p.rest = p.rest[digits:]
	return n, nil
}

// sample takes the next sample, scaled to 8 bits.
func (p *pnm) sample() (byte, error) {
	v := 0
	size := 1
	if p.max > 255 {
		size = 2
	}
	switch {
	case p.text:
		var err error
		if v, err = p.number(); err != nil {
			return 0, err
		}
	case len(p.rest) < size:
		return 0, refusal(ErrTruncated, PNM, "ends before its last pixel")
	default:
		for _, b := range p.rest[:size] {
			v = v<<8 | int(b)
		}
		p.rest = p.rest[size:]
	}
	return byte((min(v, p.max)*255 + p.max/2) / p.max), nil
}

func inspectPNM(data []byte) (Header, error) {
	p, err := parsePNM(data)
	return Header{W: p.w, H: p.h, Orientation: 1}, err
}

// decodePNM decodes to RGB. Grey is the same in all three channels.
func decodePNM(dst []byte, data []byte) error {
	p, err := parsePNM(data)
	if err != nil {
		return err
	}
	for ; len(dst) > 0; dst = dst[3:] {
		for c := range p.channels {
			if dst[c], err = p.sample(); err != nil {
				return err
			}
		}
		if p.channels == 1 {
			dst[1], dst[2] = dst[0], dst[0]
		}
	}
	return nil
}
