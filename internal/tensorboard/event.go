package tensorboard

import (
	"fmt"
	"io"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"facepipe/internal/protobuf"
)

// Scalar is one value of a series. Its tag names the series: "train/loss". TensorBoard keeps
// it as a float32.
type Scalar struct {
	Tag   string
	Value float64
}

// Event is what is known of one step. An event without scalars begins a file or a session.
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

// encode is the part that all events have.
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

// Read visits the events of a file in their order, each with the place where it ends, until
// visit returns false. Bytes that are no events are [ErrFormat]. Fields that this package does
// not write are passed over.
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
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		if !visit(e, end) {
			return nil
		}
	}
}

// decode reads an event.
func decode(data []byte) (e Event, err error) {
	err = protobuf.Fields(data, func(f protobuf.Field) error {
		switch {
		case f.Number == eventTime && f.Kind == protowire.Fixed64Type:
			e.Time = moment(math.Float64frombits(f.Bits))
		case f.Number == eventStep && f.Kind == protowire.VarintType:
			e.Step = int64(f.Bits)
		case f.Number == eventSummary && f.Kind == protowire.BytesType:
			return protobuf.Fields(f.Bytes, func(f protobuf.Field) error {
				if f.Number != summaryValue || f.Kind != protowire.BytesType {
					return nil
				}
				s, err := decodeScalar(f.Bytes)
				e.Scalars = append(e.Scalars, s)
				return err
			})
		}
		return nil
	})
	return e, err
}

// moment is the time so many seconds after 1970, the zero time if that makes no sense.
func moment(seconds float64) time.Time {
	whole, part := math.Modf(seconds)
	if !(math.Abs(whole) < 1<<40) {
		return time.Time{}
	}
	return time.Unix(int64(whole), int64(part*1e9))
}

func decodeScalar(data []byte) (s Scalar, err error) {
	err = protobuf.Fields(data, func(f protobuf.Field) error {
		switch {
		case f.Number == valueTag && f.Kind == protowire.BytesType:
			s.Tag = string(f.Bytes)
		case f.Number == valueSimple && f.Kind == protowire.Fixed32Type:
			s.Value = float64(math.Float32frombits(uint32(f.Bits)))
		}
		return nil
	})
	return s, err
}
