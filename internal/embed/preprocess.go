package embed

import (
	"encoding/json"
	"errors"
	"fmt"
)

// ErrPreprocess marks a preprocessing that is unknown or impossible.
var ErrPreprocess = errors.New("preprocessing")

// maxSide bounds a crop's sides in pixels, as its memory is allocated.
const maxSide = 4096

// Preprocess is what is done to an 8-bit crop before a model sees it: the value x of
// each channel, 0 to 255, becomes (x - mean) / std.
type Preprocess struct {
	// ChannelOrder is RGB or BGR; Mean and Std are in that order.
	ChannelOrder string     `json:"channel_order"`
	Mean         [3]float32 `json:"mean"`
	Std          [3]float32 `json:"std"`
	// Height and Width of the crop in pixels, 1 to 4096.
	Height int `json:"height"`
	Width  int `json:"width"`
	// Layout is NCHW (planes) or NHWC (interleaved).
	Layout string `json:"layout"`
	// Resample is the rule by which crops of another size are resampled first; "" if they
	// have this one.
	Resample string `json:"resample,omitempty"`
}

// ArcFace is the contract of insightface's PyTorch models: RGB in [-1, 1].
func ArcFace() Preprocess {
	return Preprocess{ChannelOrder: "RGB", Mean: [3]float32{127.5, 127.5, 127.5}, Std: [3]float32{127.5, 127.5, 127.5},
		Height: 112, Width: 112, Layout: "NCHW"}
}

// Raw is RGB from 0 to 255, for models that normalise inside.
func Raw() Preprocess {
	p := ArcFace()
	p.Mean, p.Std = [3]float32{}, [3]float32{1, 1, 1}
	return p
}

// channels are values of the three channels. In JSON they are a list, or one number for all.
type channels [3]float32

func (c *channels) UnmarshalJSON(text []byte) error {
	var all float32
	if json.Unmarshal(text, &all) == nil {
		*c = channels{all, all, all}
		return nil
	}
	var list []float32
	if err := json.Unmarshal(text, &list); err != nil || len(list) != len(c) {
		return fmt.Errorf("%s is neither one number nor one for each of 3 channels", text)
	}
	*c = channels(list)
	return nil
}

func (p Preprocess) String() string {
	text := fmt.Sprintf("%s %s %dx%d, (x - %v) / %v", p.ChannelOrder, p.Layout, p.Width, p.Height, p.Mean, p.Std)
	if p.Resample != "" {
		text += ", resampled by " + p.Resample
	}
	return text
}

// Validate reports a contract that cannot be carried out.
func (p Preprocess) Validate() error {
	switch {
	case p.ChannelOrder != "RGB" && p.ChannelOrder != "BGR":
		return fmt.Errorf("%w: channel_order %q is none of RGB, BGR", ErrPreprocess, p.ChannelOrder)
	case p.Layout != "NCHW" && p.Layout != "NHWC":
		return fmt.Errorf("%w: layout %q is none of NCHW, NHWC", ErrPreprocess, p.Layout)
	case p.Height < 1 || p.Width < 1 || p.Height > maxSide || p.Width > maxSide:
		return fmt.Errorf("%w: size %dx%d is not within 1x1 and %dx%d", ErrPreprocess, p.Width, p.Height, maxSide, maxSide)
	case p.Resample != "" && p.Resample != resampleRule:
		return fmt.Errorf("%w: resample %q is not the rule of this program, %s", ErrPreprocess, p.Resample, resampleRule)
	}
	for _, s := range p.Std {
		if !(s > 0) {
			return fmt.Errorf("%w: std %v must be positive", ErrPreprocess, p.Std)
		}
	}
	return nil
}

// shape is that of an input tensor for a batch of n crops.
func (p Preprocess) shape(n int) []int64 {
	if p.Layout == "NHWC" {
		return []int64{int64(n), int64(p.Height), int64(p.Width), 3}
	}
	return []int64{int64(n), 3, int64(p.Height), int64(p.Width)}
}
