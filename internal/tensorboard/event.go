package tensorboard

import (
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Scalar is one value of a series, which its tag names: "train/loss". TensorBoard keeps
// it as a float32.
type Scalar struct {
	Tag   string
	Value float64
}

// Event is what is known of one step. One without scalars is the beginning of a file or
// of a session.
type Event struct {
	Step    int64
	Time    time.Time // to about a microsecond
	Scalars []Scalar
}

// version begins every file.
const version = "brain.Event:2"

// Numbers of the fields in the protocol buffers.
const (
	eventTime    protowire.Number = 1
	eventStep    protowire.Number = 2
	eventVersion protowire.Number = 3
	eventSummary protowire.Number = 5
	eventSession protowire.Number = 7

	summaryValue protowire.Number = 1
	valueTag     protowire.Number = 1
	valueSimple  protowire.Number = 2

	sessionStatus protowire.Number = 1
)

// encode is an event without what it is about.
func (e Event) encode() []byte {
	b := protowire.AppendTag(nil, eventTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(float64(e.Time.UnixNano())/1e9))
	b = protowire.AppendTag(b, eventStep, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(e.Step))
}

// encodeScalars is an event with its scalars.
func (e Event) encodeScalars() []byte {
	var summary []byte
	for _, s := range e.Scalars {
		value := protowire.AppendTag(nil, valueTag, protowire.BytesType)
		value = protowire.AppendString(value, s.Tag)
		value = protowire.AppendTag(value, valueSimple, protowire.Fixed32Type)
		value = protowire.AppendFixed32(value, math.Float32bits(float32(s.Value)))
		summary = protowire.AppendTag(summary, summaryValue, protowire.BytesType)
		summary = protowire.AppendBytes(summary, value)
	}
	b := protowire.AppendTag(e.encode(), eventSummary, protowire.BytesType)
	return protowire.AppendBytes(b, summary)
}

// encodeVersion is an event that begins a file.
func (e Event) encodeVersion() []byte {
	b := protowire.AppendTag(e.encode(), eventVersion, protowire.BytesType)
	return protowire.AppendString(b, version)
}

// encodeStart is an event that begins a session.
func (e Event) encodeStart() []byte {
	const start = 1
	session := protowire.AppendTag(nil, sessionStatus, protowire.VarintType)
	session = protowire.AppendVarint(session, start)
	b := protowire.AppendTag(e.encode(), eventSession, protowire.BytesType)
	return protowire.AppendBytes(b, session)
}

// Read visits the events of a file in their order, each with the place where it ends,
// until visit says that it is enough. What is no event file, from some place on, is
// ErrFormat. Fields that this package does not write are passed over.
func Read(r io.Reader, visit func(e Event, end int64) bool) error {
	var end int64
	for {
		data, err := readRecord(r)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		end += int64(len(data)) + 16
		e, err := decode(data)
		if err != nil {
			return err
		}
		if !visit(e, end) {
			return nil
		}
	}
}

// decode reads an event.
func decode(data []byte) (e Event, err error) {
	err = fields(data, func(number protowire.Number, f field) error {
		switch {
		case number == eventTime && f.kind == protowire.Fixed64Type:
			e.Time = moment(math.Float64frombits(f.bits))
		case number == eventStep && f.kind == protowire.VarintType:
			e.Step = int64(f.bits)
		case number == eventSummary && f.kind == protowire.BytesType:
			return fields(f.bytes, func(number protowire.Number, f field) error {
				if number != summaryValue || f.kind != protowire.BytesType {
					return nil
				}
				s, err := decodeScalar(f.bytes)
				e.Scalars = append(e.Scalars, s)
				return err
			})
		}
		return nil
	})
	return e, err
}

// moment is a number of seconds since 1970; the zero time for what is no such number.
func moment(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	if !(math.Abs(whole) < 1<<40) {
		return time.Time{}
	}
	return time.Unix(int64(whole), int64(part*1e9))
}

func decodeScalar(data []byte) (s Scalar, err error) {
	err = fields(data, func(number protowire.Number, f field) error {
		switch {
		case number == valueTag && f.kind == protowire.BytesType:
			s.Tag = string(f.bytes)
		case number == valueSimple && f.kind == protowire.Fixed32Type:
			s.Value = float64(math.Float32frombits(uint32(f.bits)))
		}
		return nil
	})
	return s, err
}

// field is the content of a field: bits of a number, or bytes.
type field struct {
	kind  protowire.Type
	bits  uint64
	bytes []byte
}

// fields visits the fields of a message.
func fields(data []byte, visit func(protowire.Number, field) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return malformed(n)
		}
		data = data[n:]
		f := field{kind: kind}
		switch kind {
		case protowire.VarintType:
			f.bits, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			f.bits, n = protowire.ConsumeFixed64(data)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(data)
			f.bits = uint64(v)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return malformed(n)
		}
		data = data[n:]
		if err := visit(number, f); err != nil {
			return err
		}
	}
	return nil
}

func malformed(n int) error { return fmt.Errorf("%w: %w", ErrFormat, protowire.ParseError(n)) }
